// See ../README.md.
import express from 'express'

const app = express()
app.use((req, res) => {
  if (!(req.headers.cookie ?? '').includes('sid=')) {
    res.append('Set-Cookie', 'sid=s%3Af0.Zm9v+YmFy/w==; Path=/; HttpOnly; SameSite=Lax')
  }
  res.json({
    greeting: 'Så ' + (req.headers['x-vipps-name'] ?? ''),
    sub: req.headers['x-vipps-sub'] ?? null,
    cookie: req.headers.cookie ?? null,
    headers: req.headers,
  })
})
app.listen(Number(process.argv[2]), '127.0.0.1')
