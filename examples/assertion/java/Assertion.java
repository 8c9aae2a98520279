import java.io.IOException;
import java.math.BigInteger;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.AlgorithmParameters;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.Signature;
import java.security.interfaces.ECPublicKey;
import java.security.spec.ECGenParameterSpec;
import java.security.spec.ECParameterSpec;
import java.security.spec.ECPoint;
import java.security.spec.ECPublicKeySpec;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Who sent a request, as X-Vipps-Assertion proves it. Needs the JDK alone, 17 or later.
 *
 * <pre>
 * var site = new Assertion("https://shop.example.no/vipps/jwks.json", "https://shop.example.no", "123456"); // once
 * Map&lt;String, Object&gt; user = site.check(request.getHeader("X-Vipps-Assertion"));
 * </pre>
 */
public final class Assertion {
	/** Whatever is no proof. */
	public static final class Refused extends Exception {
		Refused(String why) { super(why); }
	}

	private final URI address;
	private final String origin, msn;
	private final HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();
	private Map<String, ECPublicKey> keys = Map.of();
	private Instant read = Instant.EPOCH;

	public Assertion(String address, String origin, String msn) {
		this.address = URI.create(address);
		this.origin = origin;
		this.msn = msn;
	}

	/** Returns the claims. */
	public Map<String, Object> check(String token) throws Refused, IOException, InterruptedException {
		try {
			String[] parts = (token == null ? "" : token).split("\\.", -1);
			if (parts.length != 3) throw new Refused("not a JWT");
			Map<String, Object> header = object(parts[0]), claims = object(parts[1]);
			// The algorithm is ours to choose, not the token's.
			if (!"ES256".equals(header.get("alg")) || !(header.get("kid") instanceof String kid)) throw new Refused("not of a kind that is taken");
			Signature signature = Signature.getInstance("SHA256withECDSAinP1363Format"); // RFC 7518 section 3.4
			signature.initVerify(key(kid));
			signature.update((parts[0] + "." + parts[1]).getBytes(StandardCharsets.US_ASCII));
			if (!signature.verify(Base64.getUrlDecoder().decode(parts[2]))) throw new Refused("the signature is wrong");
			if (!origin.equals(claims.get("iss")) || !origin.equals(claims.get("aud"))) throw new Refused("another site's");
			if (!msn.equals(claims.get("msn"))) throw new Refused("another merchant's");
			long now = Instant.now().getEpochSecond();
			if (!(claims.get("exp") instanceof Long expires) || expires <= now || !(claims.get("iat") instanceof Long issued) || issued > now + 60)
				throw new Refused("expired, or from the future");
			if (!(claims.get("sub") instanceof String sub) || sub.isEmpty()) throw new Refused("about nobody");
			return claims;
		} catch (GeneralSecurityException | IllegalArgumentException e) {
			throw new Refused(e.getMessage());
		}
	}

	/** Keys are kept for five minutes, and asked for again, not too often, for one that is not among them. */
	private synchronized ECPublicKey key(String kid) throws Refused, IOException, InterruptedException, GeneralSecurityException {
		Duration age = Duration.between(read, Instant.now());
		if (age.toSeconds() >= 300 || !keys.containsKey(kid) && age.toSeconds() >= 10) fetch();
		ECPublicKey key = keys.get(kid);
		if (key == null) throw new Refused("no such key");
		return key;
	}

	private void fetch() throws Refused, IOException, InterruptedException, GeneralSecurityException {
		var response = http.send(HttpRequest.newBuilder(address).timeout(Duration.ofSeconds(5)).build(), HttpResponse.BodyHandlers.ofString());
		if (response.statusCode() != 200 || !(new Json(response.body()).read() instanceof Map<?, ?> set)) throw new IOException("the keys cannot be read");
		AlgorithmParameters curve = AlgorithmParameters.getInstance("EC");
		curve.init(new ECGenParameterSpec("secp256r1"));
		Map<String, ECPublicKey> found = new LinkedHashMap<>();
		for (Object each : (List<?>) set.get("keys")) {
			Map<?, ?> key = (Map<?, ?>) each;
			if (!"EC".equals(key.get("kty")) || !"P-256".equals(key.get("crv"))) continue;
			ECPoint point = new ECPoint(number(key.get("x")), number(key.get("y")));
			var spec = new ECPublicKeySpec(point, curve.getParameterSpec(ECParameterSpec.class));
			found.put((String) key.get("kid"), (ECPublicKey) KeyFactory.getInstance("EC").generatePublic(spec));
		}
		keys = found;
		read = Instant.now();
	}

	private static BigInteger number(Object base64url) { return new BigInteger(1, Base64.getUrlDecoder().decode((String) base64url)); }

	@SuppressWarnings("unchecked")
	private static Map<String, Object> object(String part) throws Refused {
		String json = new String(Base64.getUrlDecoder().decode(part), StandardCharsets.UTF_8);
		if (new Json(json).read() instanceof Map<?, ?> map) return (Map<String, Object>) map;
		throw new Refused("not a JWT");
	}

	/** JSON (RFC 8259), which the JDK cannot read. A site that has a library for it uses that. */
	private static final class Json {
		private final String text;
		private int at;

		Json(String text) { this.text = text; }

		Object read() {
			Object value = value(0);
			if (next() != '\0') throw new IllegalArgumentException("not JSON");
			return value;
		}

		private char next() {
			while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) at++;
			return at < text.length() ? text.charAt(at) : '\0';
		}

		private void want(char c) {
			if (next() != c) throw new IllegalArgumentException("not JSON");
			at++;
		}

		private Object value(int depth) {
			if (depth > 20) throw new IllegalArgumentException("too deep");
			switch (next()) {
			case '{':
				Map<String, Object> object = new LinkedHashMap<>();
				for (at++; next() != '}';) {
					if (!object.isEmpty()) want(',');
					next();
					String name = string();
					want(':');
					if (object.containsKey(name)) throw new IllegalArgumentException("twice: " + name);
					object.put(name, value(depth + 1));
				}
				at++;
				return object;
			case '[':
				List<Object> list = new ArrayList<>();
				for (at++; next() != ']';) {
					if (!list.isEmpty()) want(',');
					list.add(value(depth + 1));
				}
				at++;
				return list;
			case '"':
				return string();
			default:
				int from = at;
				while (at < text.length() && ",]} \t\r\n".indexOf(text.charAt(at)) < 0) at++;
				String word = text.substring(from, at);
				if (word.equals("true") || word.equals("false")) return Boolean.valueOf(word);
				if (word.equals("null")) return null;
				if (word.matches("-?[0-9]{1,18}")) return Long.valueOf(word);
				return Double.valueOf(word);
			}
		}

		private String string() {
			want('"');
			StringBuilder out = new StringBuilder();
			for (; at < text.length(); at++) {
				char c = text.charAt(at);
				if (c == '"') {
					at++;
					return out.toString();
				}
				if (c == '\\' && ++at < text.length()) {
					c = text.charAt(at);
					int escape = "bfnrt".indexOf(c);
					if (c == 'u' && at + 4 < text.length()) {
						c = (char) Integer.parseInt(text.substring(at + 1, at + 5), 16);
						at += 4;
					} else if (escape >= 0) {
						c = "\b\f\n\r\t".charAt(escape);
					} else if ("\"\\/".indexOf(c) < 0) {
						throw new IllegalArgumentException("not JSON");
					}
				}
				out.append(c);
			}
			throw new IllegalArgumentException("not JSON");
		}
	}

	/** For trying: java Assertion.java (address of the keys) (origin) (msn), and the assertion as input. */
	public static void main(String[] args) throws Exception {
		String token = new String(System.in.readAllBytes(), StandardCharsets.UTF_8).strip();
		try {
			System.out.println(new Assertion(args[0], args[1], args[2]).check(token).get("sub"));
		} catch (Refused refused) {
			System.err.println("refused: " + refused.getMessage());
			System.exit(1);
		}
	}
}
