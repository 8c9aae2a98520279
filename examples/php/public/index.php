<?php
// A front controller, as most PHP applications have one: Caddy hands it every address that is no file.

// The path is what the browser asked for, without the script's own name in front.
$path = rawurldecode(strtok($_SERVER['REQUEST_URI'], '?'));
if (str_starts_with($path, $_SERVER['SCRIPT_NAME'])) {
    $path = substr($path, strlen($_SERVER['SCRIPT_NAME']));
}
$path = '/' . ltrim($path, '/');

// Who it is, or null. The name is UTF-8; sub is what to keep: names and phone numbers change.
$sub = $_SERVER['HTTP_X_VIPPS_SUB'] ?? null;
$name = $_SERVER['HTTP_X_VIPPS_NAME'] ?? '';

header('Content-Type: text/html; charset=utf-8');
header('Cache-Control: no-store'); // pages about a person are for nobody's cache

if (str_starts_with($path, '/account')) {
    // The Caddyfile asks for a login before anybody gets here. Should it ever miss an address, nobody is
    // shown somebody's account.
    if ($sub === null) {
        http_response_code(403);
        exit('<p>Your account needs a <a href="/vipps/login?return_to=/account">login</a>.</p>');
    }
    $title = 'Account of ' . $name;
} elseif ($path === '/') {
    $title = $sub === null ? 'Welcome' : 'Welcome, ' . $name;
} else {
    http_response_code(404);
    exit('<p>There is no such page.</p>');
}
?>
<h1><?= htmlspecialchars($title) ?></h1>
<p><a href="/account">Your account</a> <a href="/vipps/logout?return_to=/">Log out</a></p>
<p>What Caddy says about you:</p>
<pre>
<?php
foreach ($_SERVER as $header => $value) {
    if (str_starts_with($header, 'HTTP_X_VIPPS_') || $header === 'REMOTE_USER') {
        echo htmlspecialchars("$header=$value"), "\n";
    }
}
?>
</pre>
