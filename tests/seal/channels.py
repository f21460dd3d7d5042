"""The cells of a notebook that tries to get 500 values out, by every way that a notebook has.

``S`` are the objects that hold them, ``T`` the values handed out, as text where they are that;
``X`` has a value for each way that nobody has told opslib of: it has to be found in the end.
"""

from __future__ import annotations

HANDED = """
import base64, html, json, os, sys, subprocess, tempfile, traceback, time
from pathlib import Path
from urllib.parse import quote
from IPython.display import HTML, display
from opslib.seal.secretbytes import SecretBytes
given = json.loads(Path(os.environ["FLOCK"]).read_text())
S = [SecretBytes(base64.b64decode(one), f"canary/{n}") for n, one in enumerate(given["values"])]
X = given.pop("controls")
V = [one.reveal() for one in S]
T = [one.decode() if b"\\xff" != one[:1] else repr(one)[2:-1] for one in V]
"""
CHANNELS: dict[str, str] = {
    "print": "print(*T, sep='\\n')\nfor t, v in list(zip(T, V))[::5]:\n"
    "    if len(t) > 120: continue\n"
    "    print(base64.b64encode(b'x' + v).decode(), v.hex(), quote(v, safe=''), t[::-1])\n"
    "    print(json.dumps(t), html.escape(t))\n"
    "print(X['print'])",
    "print of objects": "import copy, logging, pickle, pprint\n"
    "import pandas as pd, rich\n"
    "ways = [str, repr, bytes, '{}'.format, vars, list, hash, json.dumps, copy.copy,\n"
    "    copy.deepcopy, pprint.pformat, pickle.dumps, print, lambda o: f'{o}',\n"
    "    lambda o: '%s' % o, lambda o: {n: repr(getattr(o, n)) for n in dir(o)}]\n"
    "refused = 0\n"
    "for s in S:\n"
    "    for way in ways:\n"
    "        try: print(way(s))\n"
    "        except Exception as e: refused += 1; said = print(type(e), e) if refused < 99 else 0\n"
    "for s in S[:5]:\n"
    "    for way in (display, rich.print, lambda o: rich.inspect(o, all=True),\n"
    "        lambda o: logging.error('%s', o), lambda o: pd.DataFrame([o]).to_html()):\n"
    "        try: way(s)\n"
    "        except Exception: traceback.print_exc()\n"
    "print('refused', refused, X['print of objects'])",
    "display": "for n in range(0, 500, 50):\n"
    "    display(HTML(''.join(f'<b title=\"{html.escape(t)}\">{html.escape(t)}</b>'"
    " for t in T[n:n+50])))\n"
    "display({'text/plain': ' '.join(T[:100]), 'application/json': {'deep': T[::5]},"
    " 'text/markdown': T[7], 'image/svg+xml': f'<svg><text>{html.escape(T[8])}</text></svg>'},"
    " raw=True)\n"
    "display(HTML(f'<i>{X[\"display\"]}</i>'))",
    "rich": "from rich.table import Table\nfrom rich.console import Console\n"
    "from rich.text import Text\n"
    "table = Table('a')\nfor t in T: table.add_row(Text(t))\n"
    "Console(width=900).print(table)\nrich.print({'x': T[:99]}, X['rich'])",
    "pandas": "pd.set_option('display.max_rows', 600, 'display.max_colwidth', None)\n"
    "display(pd.DataFrame({'text': T[:50], 'json': [json.dumps(t) for t in T[:50]]}))\n"
    "display(pd.DataFrame({'text': T}))\n"
    "print(pd.Series([*T[:99], X['pandas']]).to_csv())",
    "widgets": "import ipywidgets as w\n"
    "for n, t in enumerate(T[:48]):\n"
    "    kind = (w.Text, w.Textarea, w.HTML, w.Label, w.Password)[n % 5]\n"
    "    display(w.HBox([kind(value=t, description='a'), w.Button(description=t)]))\n"
    "display(w.HTML(X['widgets']))",
    "traceback": "def login(dsn): raise ValueError('no login with ' + dsn)\n"
    "for t in T:\n"
    "    try: login(t)\n"
    "    except ValueError: traceback.print_exc(limit=1)\n"
    "login(X['traceback'])",
    "traceback Context": "%xmode Context\nlogin(' '.join(T[:250]) + X['traceback Context'])",
    "traceback chained": "try: login(' '.join(T[250:]))\n"
    "except ValueError as e: raise KeyError(T[3], X['traceback chained']) from e",
    "traceback Verbose": "%xmode Verbose\n"
    "def sealed(clear):\n    text = clear.decode(errors='replace')\n    raise OSError(text)\n"
    "def plain(t, v, n, note=0):\n    return t, v, note, 1 / n\n"
    "for s, t, v in list(zip(S, T, V))[::99]:\n"
    "    try: s.used_by(sealed)\n"
    "    except Exception: get_ipython().showtraceback()\n"
    "    try: plain(t, v, 0)\n"
    "    except Exception: get_ipython().showtraceback()\n"
    "plain(T[-1], V[-1], 0, X['traceback Verbose'])",
    "logging": "log = logging.getLogger('canaries')\n"
    "logging.basicConfig(stream=sys.stderr, level=10, force=True)\n"
    "for t in T: log.info('with %s', t)\n"
    "for t in T[:40]:\n"
    "    try: login(t)\n"
    "    except ValueError: log.exception('failed: %r', t)\n"
    "log.warning(X['logging'])",
    "warnings": "import warnings\nwarnings.simplefilter('always')\n"
    "for t in T: warnings.warn(t)\nwarnings.warn(X['warnings'])",
    "chunks": "count = 0\n"
    "for n, t in enumerate([*T[:12], *T[12::4]]):\n"
    "    every = range(1, len(t)) if n < 12 and len(t) < 40 else [1 + n % (len(t) - 1)]\n"
    "    for k in every:\n"
    "        for out in (sys.stdout, sys.stderr):\n"
    "            out.write(t[:k]); out.flush(); out.write(t[k:] + '\\n'); count += 1\n"
    "x = X['chunks']\n"
    "for k in range(1, len(x)): print(x[:k], end='', flush=True); print(x[k:])\n"
    "print(count, 'splits')",
    "result": "runbook.report(texts=T, by={t: t for t in T[:50]}, told=X['result'])",
    "attachment": "runbook.attach('canaries.json', {'texts': T, 'told': X['attachment']})",
    "out": "(T[5], T[6], X['out'])",
    "history": "print(Out, _, repr(In)[-2000:])\nprint(X['history'])",
    "descriptor": "os.write(1, ('\\n'.join(T) + X['descriptor'] + '\\n').encode())\ntime.sleep(.2)",
    "process": "import resource\n"
    "own = resource.getrlimit(resource.RLIMIT_CORE)[0]\n"
    "told = subprocess.run(['sh', '-c', 'ulimit -c'], capture_output=True, text=True).stdout\n"
    "print('core dumps', own, told.strip())\n"
    "wait = 'import time; time.sleep(.5)'\n"
    "subprocess.run([sys.executable, '-c', wait, X['arguments']])\n"
    "subprocess.run([sys.executable, '-c', wait], env={'X': X['environment']})\n"
    "with tempfile.NamedTemporaryFile('w') as stream:\n"
    "    stream.write(X['temporary']); stream.flush(); time.sleep(.1)\n"
    "Path('here.txt').write_text(X['folder'])\n"
    "Path('~/.home.txt').expanduser().write_text(X['home'])",
}
RAISING = tuple(name for name in CHANNELS if name.startswith("traceback"))
OUTSIDE = ("arguments", "environment", "temporary", "folder", "home")
"""What ``process`` leaves, beside the record."""
