<?php
// See README.md.
$headers = array_filter($_SERVER, fn($name) => str_starts_with($name, 'HTTP_'), ARRAY_FILTER_USE_KEY);
if (!str_contains($_SERVER['HTTP_COOKIE'] ?? '', 'sid=')) {
    header('Set-Cookie: sid=s%3Af0.Zm9v+YmFy/w==; Path=/; HttpOnly; SameSite=Lax');
}
header('Content-Type: application/json');
echo json_encode([
    'greeting' => 'Så ' . ($_SERVER['HTTP_X_VIPPS_NAME'] ?? ''),
    'sub' => $_SERVER['HTTP_X_VIPPS_SUB'] ?? null,
    'cookie' => $_SERVER['HTTP_COOKIE'] ?? null,
    'headers' => $headers,
], JSON_THROW_ON_ERROR);
