// Node's own HTTP/2 server, without TLS: see ../README.md.
import { createServer } from 'node:http2'

createServer((req, res) => {
  if (!(req.headers.cookie ?? '').includes('sid=')) {
    res.setHeader('Set-Cookie', 'sid=s%3Af0.Zm9v+YmFy/w==; Path=/; HttpOnly; SameSite=Lax')
  }
  res.setHeader('Content-Type', 'application/json')
  res.end(JSON.stringify({
    greeting: 'Så ' + (req.headers['x-vipps-name'] ?? ''),
    sub: req.headers['x-vipps-sub'] ?? null,
    cookie: req.headers.cookie ?? null,
    headers: req.headers,
  }))
}).listen(Number(process.argv[2]), '127.0.0.1')
