// A Node client with kept connections. Usage: node client.mjs HOST PORT
// Asks for everything that server.mjs has, in turn, and prints what it got.
import http from "node:http";

const [host, port] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });

const ask = (method, path, body = [], headers = {}) =>
  new Promise((resolve, reject) => {
    const request = http.request({ host, port, method, path, headers, agent }, (response) => {
      let size = 0;
      response.on("data", (data) => (size += data.length));
      response.on("end", () => resolve(`${method} ${path} ${response.statusCode} ${size}`));
    });
    request.on("error", reject);
    request.on("continue", () => body.forEach((piece) => request.write(piece)) || request.end());
    if (headers.Expect) return request.flushHeaders();
    body.forEach((piece) => request.write(piece));
    request.end();
  });

const upgrade = (method, path, headers, event) =>
  new Promise((resolve, reject) => {
    const request = http.request({ host, port, method, path, headers });
    request.on(event, (response, socket) => {
      const echoed = "GET /not-seen HTTP/1.1\r\nHost: node.test\r\n\r\n";
      socket.write(echoed);
      socket.on("data", (data) => {
        socket.destroy();
        resolve(`${method} ${event} ${response.statusCode} ${data.length === echoed.length}`);
      });
    });
    request.on("error", reject);
    request.end();
  });

const pieces = Array.from({ length: 10 }, (_, i) => "x".repeat(1000 + i));
for (let round = 0; round < 3; round++) {
  const asked = [
    ask("GET", "/plain"),
    ask("HEAD", "/plain"),
    ask("GET", "/chunked"),
    ask("GET", "/hints"),
    ask("GET", "/empty"),
    ask("GET", "/slow"),
    ask("POST", "/echo", pieces), // in chunks: its length is not said
    ask("POST", "/echo", ["abc"], { "Content-Length": 3 }),
    ask("PUT", "/echo", ["abc"], { "Content-Length": 3, Expect: "100-continue" }),
    ask("DELETE", "/items/17"),
  ];
  for (const line of await Promise.all(asked)) console.log(line);
}
await ask("GET", "/destroyed").catch((error) => console.log(`GET /destroyed ${error.code}`));
console.log(await upgrade("GET", "/socket", { Connection: "Upgrade", Upgrade: "echo" }, "upgrade"));
console.log(await upgrade("CONNECT", "node.test:80", {}, "connect"));
agent.destroy();
