<?php
// Replace this page with your own: it shows where the site runs now.
$facts = [
    'unit' => getenv('HC_UNIT'),
    'node' => getenv('HC_NODE'),
    'epoch' => (int) getenv('HC_EPOCH'),
    'time' => gmdate('Y-m-d\TH:i:s\Z'),
    'host' => $_SERVER['HTTP_HOST'] ?? '',
    'php' => PHP_VERSION,
];
header('Cache-Control: no-store');
if (isset($_GET['json'])) {
    header('Content-Type: application/json');
    echo json_encode($facts), "\n";
    exit;
}
header('Content-Type: text/html; charset=utf-8');
?>
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title><?= htmlspecialchars((string) $facts['unit']) ?> on <?= htmlspecialchars((string) $facts['node']) ?></title>
<style>body{font:18px/1.6 system-ui,sans-serif;max-width:34rem;margin:4rem auto;padding:0 1rem}dt{float:left;width:7rem;color:#667}dd{margin:0 0 0 7rem;font-weight:600}</style>
</head>
<body>
<h1>It works</h1>
<dl>
<?php foreach ($facts as $name => $value): ?>
<dt><?= htmlspecialchars($name) ?></dt><dd><?= htmlspecialchars((string) $value) ?></dd>
<?php endforeach ?>
</dl>
</body>
</html>
