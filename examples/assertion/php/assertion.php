<?php
// Who sent a request, as X-Vipps-Assertion proves it. Needs the openssl extension and nothing else; with Composer,
// firebase/php-jwt does the same.
//
//   $keys = new Keys('https://shop.example.no/vipps/jwks.json', sys_get_temp_dir() . '/vipps-keys.json');
//   $user = check($keys, $_SERVER['HTTP_X_VIPPS_ASSERTION'] ?? '', 'https://shop.example.no', '123456');
//
// Throws a Refused for whatever is no proof.
declare(strict_types=1);

final class Refused extends Exception {}

/** The site's keys, kept in a file for five minutes, and asked for again, not too often, for a kid that is not there. */
final class Keys
{
	public function __construct(private string $address, private string $file) {}

	public function find(string $kid): OpenSSLAsymmetricKey
	{
		$age = is_file($this->file) ? time() - filemtime($this->file) : PHP_INT_MAX;
		$key = $age < 300 ? $this->read($kid) : null;
		if ($key === null && $age >= 10) {
			$this->fetch();
			$key = $this->read($kid);
		}
		return $key ?? throw new Refused('no such key');
	}

	private function fetch(): void
	{
		$content = file_get_contents($this->address, false, stream_context_create(['http' => ['timeout' => 5]]));
		if ($content === false) {
			throw new RuntimeException('the keys cannot be read');
		}
		file_put_contents($this->file . '.new', $content);
		rename($this->file . '.new', $this->file); // whole, for all who read it meanwhile
	}

	private function read(string $kid): ?OpenSSLAsymmetricKey
	{
		$set = json_decode((string) @file_get_contents($this->file), true);
		foreach ($set['keys'] ?? [] as $key) {
			if (($key['kid'] ?? null) === $kid && $key['kty'] === 'EC' && $key['crv'] === 'P-256') {
				// SubjectPublicKeyInfo of an uncompressed point on P-256 (RFC 5480)
				$der = hex2bin('3059301306072a8648ce3d020106082a8648ce3d03010703420004') . decode($key['x']) . decode($key['y']);
				$pem = "-----BEGIN PUBLIC KEY-----\n" . chunk_split(base64_encode($der), 64, "\n") . "-----END PUBLIC KEY-----\n";
				return openssl_pkey_get_public($pem) ?: null;
			}
		}
		return null;
	}
}

/** Returns the claims. */
function check(Keys $keys, string $token, string $origin, string $msn): array
{
	$parts = explode('.', $token);
	if (count($parts) !== 3) {
		throw new Refused('not a JWT');
	}
	[$header, $claims] = [json_decode(decode($parts[0]), true), json_decode(decode($parts[1]), true)];
	if (!is_array($header) || !is_array($claims) || ($header['alg'] ?? null) !== 'ES256' || !is_string($header['kid'] ?? null)) {
		throw new Refused('not of a kind that is taken'); // the algorithm is ours to choose, not the token's
	}
	$signature = decode($parts[2]);
	if (strlen($signature) !== 64 || openssl_verify("$parts[0].$parts[1]", der($signature), $keys->find($header['kid']), OPENSSL_ALGO_SHA256) !== 1) {
		throw new Refused('the signature is wrong');
	}
	$wanted = ['iss' => $origin, 'aud' => $origin, 'msn' => $msn];
	foreach ($wanted as $name => $value) {
		if (($claims[$name] ?? null) !== $value) {
			throw new Refused("$name is another");
		}
	}
	if (!is_int($claims['exp'] ?? null) || $claims['exp'] <= time() || !is_int($claims['iat'] ?? null) || $claims['iat'] > time() + 60) {
		throw new Refused('expired, or from the future');
	}
	if (!is_string($claims['sub'] ?? null) || $claims['sub'] === '') {
		throw new Refused('about nobody');
	}
	return $claims;
}

function decode(string $text): string
{
	$decoded = base64_decode(strtr($text, '-_', '+/'), true);
	return $decoded === false ? throw new Refused('not base64url') : $decoded;
}

/** Writes the two numbers of a signature (RFC 7518 section 3.4) as OpenSSL reads them (RFC 3279 section 2.2.3). */
function der(string $signature): string
{
	$number = function (string $bytes): string {
		$bytes = ltrim($bytes, "\0");
		if ($bytes === '' || ord($bytes[0]) >= 0x80) {
			$bytes = "\0" . $bytes;
		}
		return "\x02" . chr(strlen($bytes)) . $bytes;
	};
	$numbers = $number(substr($signature, 0, 32)) . $number(substr($signature, 32));
	return "\x30" . chr(strlen($numbers)) . $numbers;
}

// For trying: php assertion.php <address of the keys> <origin> <msn>, and the assertion as input.
if (PHP_SAPI === 'cli' && realpath($argv[0]) === __FILE__) {
	try {
		$keys = new Keys($argv[1], tempnam(sys_get_temp_dir(), 'keys') . '.json');
		echo check($keys, trim(stream_get_contents(STDIN)), $argv[2], $argv[3])['sub'], "\n";
	} catch (Refused $error) {
		fwrite(STDERR, "refused: {$error->getMessage()}\n");
		exit(1);
	}
}
