import express from 'express'

const app = express()
app.get('/utf8', (req, res) => {
  // SNIPPET utf8
  res.json({ sub, name, address })
})
app.get('/percent', (req, res) => {
  // SNIPPET percent
  res.json({ sub, name, address })
})
app.get('/base64url', (req, res) => {
  // SNIPPET base64url
  res.json({ sub, name, address })
})
app.listen(Number(process.argv[2]), '127.0.0.1')
