// A Node server with a bit of everything. Usage: node server.mjs PORT
import http from "node:http";

const server = http.createServer((request, response) => {
  const { pathname } = new URL(request.url, "http://node.test");
  if (pathname === "/chunked") {
    response.writeHead(200, { "Transfer-Encoding": "chunked", Trailer: "X-Sum" });
    for (let i = 0; i < 20; i++) response.write(`piece ${i}\n`);
    response.addTrailers({ "X-Sum": "20" });
    response.end();
  } else if (pathname === "/hints") {
    response.writeEarlyHints({ link: "</style.css>; rel=preload; as=style" });
    response.end("hinted");
  } else if (pathname === "/echo") {
    response.writeHead(201);
    request.pipe(response);
  } else if (pathname === "/refused") {
    response.writeHead(413, { Connection: "close" });
    response.end("too large");
  } else if (pathname === "/slow") {
    setTimeout(() => response.end("slow"), 50);
  } else if (pathname === "/destroyed") {
    request.socket.destroy();
  } else if (pathname === "/empty") {
    response.writeHead(204);
    response.end();
  } else {
    response.end("node\n");
  }
});
server.keepAliveTimeout = 60_000;
server.on("upgrade", (_request, socket) => {
  socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n");
  socket.pipe(socket);
});
server.on("connect", (_request, socket) => {
  socket.write("HTTP/1.1 200 Connection Established\r\n\r\n");
  socket.pipe(socket);
});
server.listen(Number(process.argv[2]), "::", () => console.log("ready"));
