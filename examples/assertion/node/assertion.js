// Who sent a request, as X-Vipps-Assertion proves it. Needs jose.
//
//   const keys = createRemoteJWKSet(new URL('https://shop.example.no/vipps/jwks.json'), { cacheMaxAge: 300_000 }) // once
//   const user = await check(keys, request.headers['x-vipps-assertion'] ?? '', 'https://shop.example.no', '123456')
//
// Rejects whatever is no proof.
import { readFileSync, realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { createRemoteJWKSet, jwtVerify } from 'jose'

export async function check(keys, token, origin, msn) {
  const { payload } = await jwtVerify(token, keys, {
    algorithms: ['ES256'], issuer: origin, audience: origin, requiredClaims: ['exp', 'iat', 'sub'],
  })
  if (typeof payload.sub !== 'string' || payload.sub === '') throw new Error('about nobody')
  if (payload.msn !== msn) throw new Error("another merchant's")
  return payload
}

// For trying: node assertion.js <address of the keys> <origin> <msn>, and the assertion as input.
if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [, , address, origin, msn] = process.argv
  try {
    const user = await check(createRemoteJWKSet(new URL(address)), readFileSync(0, 'utf8').trim(), origin, msn)
    console.log(user.sub)
  } catch (error) {
    console.error(`refused: ${error.message}`)
    process.exitCode = 1
  }
}
