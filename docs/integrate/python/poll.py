#!/usr/bin/env python3
"""Polls a Noctua for new and changed reports and writes each version to a folder.

It misses none: where it is is written down only after what it stands for is on disk, so that after a crash it asks again for
what it may not have written. What it writes twice is the same. Standard library alone; Python 3.9 or newer.

    python3 poll.py --url http://127.0.0.1:8420 --token-file token.txt --out reports [--every 10 | --once]
"""

import argparse
import json
import os
import pathlib
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request


def get(url: str, token: str, context: "ssl.SSLContext | None") -> dict:
    """Reads a FHIR resource; waits and tries again where Noctua is busy, restarting or out of reach."""
    while True:
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}", "Accept": "application/fhir+json"})
        try:
            with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code not in (429, 502, 503, 504):
                sys.exit(f"{url.split('?')[0]}: {error.code} {error.read().decode(errors='replace')[:500]}")
            wait = float(error.headers.get("Retry-After", "5"))
        except (urllib.error.URLError, OSError, ValueError):
            wait = 5.0  # not there, or an answer that broke off
        time.sleep(wait)


def write(path: pathlib.Path, value: object) -> None:
    """Writes a file whole or not at all, and on disk when it returns."""
    part = path.with_suffix(".part")
    with open(part, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def poll(base: str, token: str, out: pathlib.Path, context: "ssl.SSLContext | None") -> int:
    """Takes all that changed since the last time; returns how many versions that were."""
    state = out / "state.json"
    after = json.loads(state.read_text())["after"] if state.exists() else ""
    query = [("_sort", "_lastUpdated"), ("_count", "20"), ("_total", "none")]
    query += [("_include", "DiagnosticReport:result"), ("_include", "DiagnosticReport:patient")]
    if after:
        query.append(("_lastUpdated", "gt" + after))
    url, taken = base + "/fhir/DiagnosticReport?" + urllib.parse.urlencode(query), 0
    while url:
        page = get(url, token, context)
        entries = page.get("entry", [])
        included = {e["resource"]["resourceType"] + "/" + e["resource"]["id"]: e["resource"] for e in entries}
        for entry in entries:
            if entry["search"]["mode"] != "match":
                continue
            report = entry["resource"]
            wanted = [report["subject"]["reference"]] + [r["reference"] for r in report.get("result", [])]
            resources = [report] + [included[w] for w in wanted if w in included]
            write(out / f"{report['id']}-v{report['meta']['versionId']}.json", resources)
            after, taken = report["meta"]["lastUpdated"], taken + 1
        if entries:
            write(state, {"after": after})  # what is before it is on disk
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
    return taken


def main() -> None:
    """Reads the command line and polls."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True, help="address of Noctua, e.g. https://noctua.example.org")
    parser.add_argument("--token-file", type=pathlib.Path, required=True, help="file with a token of the scope report.read")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder for the reports and state.json")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between polls (10)")
    parser.add_argument("--once", action="store_true", help="poll once and end")
    parser.add_argument("--ca", help="file of authorities (PEM), if the machine does not know Noctua's")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    context = ssl.create_default_context(cafile=options.ca) if options.ca else None
    token = options.token_file.read_text().strip()
    while True:
        taken = poll(options.url.rstrip("/"), token, options.out, context)
        print(f"{taken} new versions", flush=True)
        if options.once:
            return
        time.sleep(options.every)


if __name__ == "__main__":
    main()
