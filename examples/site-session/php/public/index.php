<?php
// A shop as there are many: it looks at who the user is once, and from then on goes by its own session.

session_start();

if (!isset($_SESSION['user']) && isset($_SERVER['HTTP_X_VIPPS_SUB'])) {
    // With keep_at_login this is a must: whoever knows the id from before must not be in the user's session.
    session_regenerate_id(true);
    $_SESSION['user'] = $_SERVER['HTTP_X_VIPPS_NAME'] ?? '';
}
if (isset($_GET['put'])) {
    $_SESSION['basket'] = (string) $_GET['put'];
}

header('Content-Type: text/html; charset=utf-8');
$user = htmlspecialchars($_SESSION['user'] ?? 'nobody');
$basket = htmlspecialchars($_SESSION['basket'] ?? '');
?>
<p>Logged in: <?= $user ?>.</p>
<p>Basket: <?= $basket ?>.</p>
<p><a href="?put=book">A book</a> <a href="/account">Your account</a> <a href="/vipps/logout">Log out</a></p>
