// Asks BASE (the first argument) with both of Java's own clients and prints a line for each answer: name, status, text.

import java.io.ByteArrayInputStream;
import java.net.CookieManager;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

public class Client {
    static HttpClient client(HttpClient.Version version) {
        return HttpClient.newBuilder().version(version).cookieHandler(new CookieManager()).build();
    }

    static void ask(HttpClient client, String name, HttpRequest.Builder request) throws Exception {
        var answer = client.send(request.build(), BodyHandlers.ofString());
        System.out.println(name + "\t" + answer.statusCode() + "\t" + answer.body().strip());
    }

    public static void main(String[] arguments) throws Exception {
        var base = arguments[0];
        var one = client(HttpClient.Version.HTTP_1_1);
        one.send(HttpRequest.newBuilder(URI.create(base + "/pub/page")).build(), BodyHandlers.discarding());
        ask(one, "plain", HttpRequest.newBuilder(URI.create(base + "/pub/a")));
        ask(one, "long query", HttpRequest.newBuilder(URI.create(base + "/pub/a?q=" + "x".repeat(4000))));
        ask(one, "other letters", HttpRequest.newBuilder(URI.create(base + "/pub/%C3%BC%20%C3%A4/100%25")));
        ask(one, "form", HttpRequest.newBuilder(URI.create(base + "/pub/form")).POST(BodyPublishers.ofString("a=b%26c")));
        ask(one, "chunked", HttpRequest.newBuilder(URI.create(base + "/pub/upload"))
            .POST(BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(new byte[300000]))));
        ask(one, "denied", HttpRequest.newBuilder(URI.create(base + "/secret")));
        ask(one, "after it", HttpRequest.newBuilder(URI.create(base + "/pub/a")));
        var old = (HttpURLConnection) URI.create(base + "/pub/a").toURL().openConnection();
        System.out.println("old\t" + old.getResponseCode() + "\t" + new String(old.getInputStream().readAllBytes()));
        var two = client(HttpClient.Version.HTTP_2);
        ask(two, "asks for h2c", HttpRequest.newBuilder(URI.create(base + "/pub/a")));
        ask(two, "once more", HttpRequest.newBuilder(URI.create(base + "/pub/a")));
        ask(client(HttpClient.Version.HTTP_2), "uploads beside h2c",
            HttpRequest.newBuilder(URI.create(base + "/pub/form")).POST(BodyPublishers.ofString("a=b%26c")));
    }
}
