<?php
switch (trim($_SERVER['REQUEST_URI'], '/')) {
    case 'utf8':
        // SNIPPET utf8
        break;
    case 'percent':
        // SNIPPET percent
        break;
    case 'base64url':
        // SNIPPET base64url
        break;
}
header('Content-Type: application/json');
echo json_encode(['sub' => $sub, 'name' => $name, 'address' => $address], JSON_THROW_ON_ERROR);
