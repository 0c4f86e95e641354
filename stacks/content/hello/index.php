<?php
// Shows where it runs. ?json for programs.
$seen = ['unit' => getenv('HC_UNIT'), 'node' => getenv('HC_NODE'), 'epoch' => (int) getenv('HC_EPOCH'), 'time' => gmdate('Y-m-d\TH:i:s\Z')];
if (isset($_GET['json'])) {
    header('Content-Type: application/json');
    echo json_encode($seen), "\n";
    exit;
}
header('Content-Type: text/html; charset=utf-8');
?>
<!doctype html><meta charset="utf-8"><title>Hello from <?= htmlspecialchars((string) $seen['node']) ?></title>
<h1>Hello</h1>
<p>This is <b><?= htmlspecialchars((string) $seen['unit']) ?></b>, at home on node <b><?= htmlspecialchars((string) $seen['node']) ?></b> at epoch <b><?= $seen['epoch'] ?></b>. It is <?= $seen['time'] ?>.
