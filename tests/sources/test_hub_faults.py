"""Busy and broken hubs, servers that are no hub, and a damaged cache: the real client against a scripted server."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support import hub_server as server
from support.hub_server import FakeHub, Fault, ask, ask_all

WEIGHTS = b"0123456789abcdef" * 32_000
LISTING = "api/models/lab/lm/revision"
FILE = "lab/lm/resolve"
MODEL = "hub.model('lab/lm')"
TOKEN = "hf_CANARY123"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    model = {"config.json": b"{}", "model.safetensors": WEIGHTS}
    with server.running_hub(
        {"lab/lm": server.Repo({"main": model}), "lab/empty": server.Repo({"main": {}})}
    ) as running:
        yield running


def _asked(hub: FakeHub, part: str, method: str = "GET") -> int:
    return sum(m == method and part in path for m, path in hub.requests)


def test_a_busy_hub_is_asked_again_when_it_says_so(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults = [
        Fault(LISTING, times=1, status=429, headers={"Retry-After": "7"}),
        Fault(LISTING, times=1, status=429, headers={"RateLimit": '"api";r=0;t=31'}),
    ]
    answer = ask(hub.endpoint, tmp_path, MODEL)
    assert answer["files"] == ["config.json", "model.safetensors"]
    assert answer["waits"] == [7, 31]
    assert "429" in answer["log"] and "asking again in 7 s" in answer["log"]


def test_a_broken_hub_is_asked_three_times_and_then_told(hub: FakeHub, tmp_path: Path) -> None:
    statuses = (500, 502, 503, 504)
    hub.faults = [Fault(LISTING, times=3, status=status) for status in statuses]
    for status, answer in zip(statuses, ask_all(hub.endpoint, tmp_path, [MODEL] * 4), strict=True):
        assert f"answered {status}; try again later" in answer["error"] and "'lab/lm'" in answer["error"]
        assert answer["waits"] == [1, 4]
    assert _asked(hub, LISTING) == 12


def test_a_wait_of_an_hour_is_told_instead_of_waited(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults = [Fault(LISTING, status=429, headers={"Retry-After": "3600"})]
    answer = ask(hub.endpoint, tmp_path, MODEL)
    assert answer["waits"] == []
    assert "429" in answer["error"] and "in 3600 s" in answer["error"] and "HF_TOKEN" in answer["error"]


def test_a_full_cache_bridges_a_hub_that_does_not_answer(hub: FakeHub, tmp_path: Path) -> None:
    online = ask(hub.endpoint, tmp_path, MODEL)
    hub.faults = [
        Fault(LISTING, times=1, status=429),
        Fault(LISTING, times=1, status=503),
        Fault(LISTING, times=1, body=b"<html>Welcome to HotelNet</html>"),
        Fault(LISTING, times=1, reset_after=5),
    ]
    for bridged in ask_all(hub.endpoint, tmp_path, [MODEL] * 4):
        assert (bridged["files"], bridged["revision"], bridged["waits"]) == (online["files"], online["revision"], [])
        assert bridged["log"].count("hub out of reach") == 4
    assert _asked(hub, LISTING) == 5


def test_a_full_cache_does_not_hide_a_refusal(hub: FakeHub, tmp_path: Path) -> None:
    ask(hub.endpoint, tmp_path, MODEL)
    statuses = (401, 403, 404)
    hub.faults = [Fault(LISTING, times=1, status=status) for status in statuses]
    for status, answer in zip(statuses, ask_all(hub.endpoint, tmp_path, [MODEL] * 3), strict=True):
        assert f"answered {status}" in answer["error"]


REMEDIES = {
    401: ("hf auth login", "HF_TOKEN"),
    403: ("hf auth login", "HF_TOKEN", "/lab/lm"),
    404: ("correct",),
    429: ("try again", "HF_TOKEN"),
    500: ("try again later",),
}


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_what_the_hub_answers_for_a_file_is_told(hub: FakeHub, tmp_path: Path, method: str) -> None:
    calls = [f"hub.file('lab/lm', 'answers_{status}.pt')" for status in REMEDIES]
    hub.repos["lab/lm"] = server.Repo({"main": {f"answers_{status}.pt": WEIGHTS for status in REMEDIES}})
    hub.faults = [Fault(f"answers_{status}.pt", method, status=status) for status in REMEDIES]
    for status, answer in zip(REMEDIES, ask_all(hub.endpoint, tmp_path, calls), strict=True):
        for part in ("'lab/lm'", f"'answers_{status}.pt'", f"answered {status}", *REMEDIES[status]):
            assert part in answer["error"]


def test_a_404_without_a_code_says_what_to_correct(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults = [Fault(LISTING, status=404)]
    error = ask(hub.endpoint, tmp_path, MODEL)["error"]
    assert "404" in error and "correct the id" in error and "HF_ENDPOINT" in error and "later" not in error


BREAKS = {
    "reset": Fault("reset.pt", times=2, reset_after=100_000),
    "short": Fault("short.pt", times=2, body=WEIGHTS[:1000]),
    "502": Fault("502.pt", times=2, status=502),
}


def test_a_transfer_that_breaks_off_is_tried_again(hub: FakeHub, tmp_path: Path) -> None:
    hub.repos["lab/lm"] = server.Repo({"main": {f"{name}.pt": f"{name} ".encode() + WEIGHTS for name in BREAKS}})
    hub.faults = [replace(fault) for fault in BREAKS.values()]
    answers = ask_all(hub.endpoint, tmp_path, [f"hub.file('lab/lm', '{name}.pt')" for name in BREAKS])
    for name, answer in zip(BREAKS, answers, strict=True):
        assert answer["text"] == f"{name} {WEIGHTS.decode()}"
        assert answer["waits"] == [1, 4]


def test_a_transfer_that_breaks_off_late_is_resumed_where_it_ended(hub: FakeHub, tmp_path: Path) -> None:
    """The client holds what it receives in pieces of 10 MiB, so that it can resume at multiples of these alone."""
    piece = 10 * 2**20
    large = WEIGHTS * (piece // len(WEIGHTS) + 2)
    hub.repos["lab/lm"] = server.Repo({"main": {"large.pt": large}})
    cut = large[: piece + 1000]
    hub.faults = [Fault(FILE, times=1, body=cut, headers={"Content-Length": str(len(large))})]
    answer = ask(hub.endpoint, tmp_path, "hub.file('lab/lm', 'large.pt')")
    assert answer["text"] == large.decode()
    assert _asked(hub, FILE, "HEAD") == 1 and _asked(hub, FILE) == 2
    assert hub.resumed == [(f"{FILE}/{server.COMMIT}/large.pt", piece)]


def test_a_transfer_that_always_breaks_off_is_told(hub: FakeHub, tmp_path: Path) -> None:
    hub.repos["lab/lm"] = server.Repo({"main": {f"{name}.pt": WEIGHTS for name in BREAKS}})
    hub.faults = [replace(fault, times=3) for fault in BREAKS.values()]
    answers = ask_all(hub.endpoint, tmp_path, [f"hub.file('lab/lm', '{name}.pt')" for name in BREAKS])
    reasons = ("cannot reach the hub", "fewer bytes than it announced", "answered 502; try again later")
    for reason, answer in zip(reasons, answers, strict=True):
        assert reason in answer["error"]
    assert list(tmp_path.rglob("*.incomplete")) == []


def test_a_storage_that_xet_cannot_reach_is_told(hub: FakeHub, tmp_path: Path) -> None:
    pytest.importorskip("hf_xet")
    of_token = {
        "X-Xet-Cas-Url": "http://127.0.0.1:9",
        "X-Xet-Access-Token": TOKEN,
        "X-Xet-Token-Expiration": f"{2**33}",
    }
    of_file = {"X-Xet-Hash": "ab" * 32, "X-Xet-Refresh-Route": f"{hub.endpoint}/api/models/lab/lm/xet-read-token/main"}
    hub.faults = [
        Fault(f"{FILE}/{server.COMMIT}/model", "HEAD", headers=of_file),
        Fault("xet-read-token", status=200, headers=of_token, body=b"{}"),
    ]
    impatient = {"HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "1", "HF_XET_CLIENT_RETRY_MAX_DURATION": "1s"}
    answer = ask(hub.endpoint, tmp_path, MODEL, HF_HUB_DISABLE_XET="0", **impatient)
    assert "'model.safetensors'" in answer["error"] and "HF_HUB_DISABLE_XET=1" in answer["error"]
    assert TOKEN not in str(answer)


STRANGERS = {
    "captive portal": b"<!doctype html><title>Log in</title>",
    "null": b"null",
    "list": b"[1, 2]",
    "no id": b"{}",
    "cut": b'{"id": "lab/lm", "sha": "01',
    "siblings": b'{"id": "lab/lm", "siblings": 5}',
}


def test_answers_that_are_no_hubs_end_in_one_message(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults = [Fault(LISTING, body=body, times=1) for body in STRANGERS.values()]
    for name, answer in zip(STRANGERS, ask_all(hub.endpoint, tmp_path, [MODEL] * len(STRANGERS)), strict=True):
        assert "does not answer as a hub does" in answer["error"], name
        assert "HF_ENDPOINT" in answer["error"] and "'lab/lm'" in answer["error"], name


def test_a_listing_without_a_commit_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    without = ("", ', "sha": null', ', "sha": "../../../evil"', ', "sha": "None"')
    bodies = [f'{{"id": "lab/lm"{sha}, "siblings": []}}'.encode() for sha in without]
    hub.faults = [Fault(LISTING, times=1, body=body) for body in bodies]
    for answer in ask_all(hub.endpoint, tmp_path, [MODEL] * len(without)):
        assert "names no commit" in answer["error"]


def test_names_that_lead_out_of_the_repository_are_refused(hub: FakeHub, tmp_path: Path) -> None:
    listing = b'{"id": "lab/lm", "sha": "%b", "siblings": [{"rfilename": "../../etc/passwd"}]}' % server.COMMIT.encode()
    hub.faults = [Fault(LISTING, body=listing)]
    error = ask(hub.endpoint, tmp_path, "hub.file('lab/lm', 'x.pt')")["error"]
    assert "'../../etc/passwd'" in error and "outside" in error


def test_a_file_without_a_hubs_headers_or_of_another_commit_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults = [Fault(FILE, "HEAD", times=1, without=("X-Repo-Commit",))]
    assert "does not answer as a hub does" in ask(hub.endpoint, tmp_path / "a", MODEL)["error"]
    hub.faults = [Fault(FILE, "HEAD", headers={"X-Repo-Commit": "f" * 40})]
    assert "another revision" in ask(hub.endpoint, tmp_path / "b", MODEL)["error"]


def test_an_endpoint_that_is_no_address_is_named(tmp_path: Path) -> None:
    script = (
        "import os\nfrom pathlib import Path\nfrom sae_research.errors import UserError\n"
        "from sae_research.sources.hub import Hub\n"
        "for endpoint in ('http://[::1', 'http://127.0.0.1:99999', 'huggingface.co', '', 'ftp://x', 'http://'):\n"
        "    os.environ['HF_ENDPOINT'] = endpoint\n"
        "    try: Hub(Path('w')).model('lab/lm')\n"
        "    except UserError as error: assert f'HF_ENDPOINT is {endpoint!r}' in str(error), error; print(error)"
    )
    done = server.run_against("http://127.0.0.1:9", tmp_path, script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("expected an address such as 'https://huggingface.co'") == 6


def test_a_stage_names_an_endpoint_that_ends_the_libraries_import(tmp_path: Path) -> None:
    script = (
        "from sae_research.pipeline.runtime import run_as_stage\n"
        "raise SystemExit(run_as_stage(lambda: __import__('huggingface_hub')))"
    )
    done = server.run_against("http://[::1", tmp_path, script)
    assert done.returncode == 1
    assert "HF_ENDPOINT is 'http://[::1'" in done.stderr and "Traceback" not in done.stderr


def test_an_unreadable_listing_counts_as_absent(hub: FakeHub, tmp_path: Path) -> None:
    damages = ["", "{", "[]", "null", '{"commit": 5, "names": []}', '{"names": ["a"]}', "[" * 10**5]
    names = [f"lab/lm{number}" for number in range(len(damages))]
    hub.repos |= dict.fromkeys(names, hub.repos["lab/lm"])
    calls = [f"hub.model('{name}')" for name in names]
    ask_all(hub.endpoint, tmp_path, calls)
    notes = [tmp_path / f"sae_research_listings/models--{name.replace('/', '--')}--main.json" for name in names]
    for note, damage in zip(notes, damages, strict=True):
        note.write_text(damage)
    for offline in ask_all(hub.endpoint, tmp_path, calls, HF_HUB_OFFLINE="1"):
        assert "not in the local cache" in offline["error"]
    for online in ask_all(hub.endpoint, tmp_path, calls):
        assert online["revision"] == server.COMMIT
    assert {note.read_text() for note in notes} == {notes[0].read_text()} and server.COMMIT in notes[0].read_text()


def test_listings_are_on_disk_before_they_are_in_place(hub: FakeHub, tmp_path: Path) -> None:
    script = (
        "import os, pathlib\nfrom pathlib import Path\nfrom sae_research.sources.hub import Hub\n"
        "seen, fsync, replace = [], os.fsync, Path.replace\n"
        "os.fsync = lambda file: (seen.append(os.fstat(file).st_ino), fsync(file))[1]\n"
        "def placed(self, target):\n"
        "    if 'sae_research_listings' in str(target): assert self.stat().st_ino in seen, target; print(target)\n"
        "    return replace(self, target)\n"
        "Path.replace = placed\nHub(Path('w')).model('lab/lm')"
    )
    done = server.run_against(hub.endpoint, tmp_path, script)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 3


def _blob(home: Path) -> Path:
    return next(home.rglob(f"blobs/{hashlib.sha256(WEIGHTS).hexdigest()}"))


@pytest.mark.parametrize("damage", ["bit", "cut"])
def test_a_damaged_blob_is_noticed_and_fetched_again(hub: FakeHub, tmp_path: Path, damage: str) -> None:
    online = ask(hub.endpoint, tmp_path, MODEL)
    blob = _blob(tmp_path)
    before = blob.stat()
    blob.write_bytes(WEIGHTS[:100] if damage == "cut" else WEIGHTS[:5000] + b"\xff" + WEIGHTS[5001:])
    os.utime(blob, ns=(before.st_atime_ns, before.st_mtime_ns))
    offline = ask(hub.endpoint, tmp_path, MODEL, HF_HUB_OFFLINE="1")
    assert "is damaged" in offline["error"] and "HF_HUB_OFFLINE" in offline["error"]
    mended = ask(hub.endpoint, tmp_path, MODEL)
    assert mended["revision"] == online["revision"] and "is damaged" in mended["log"]
    assert blob.read_bytes() == WEIGHTS
    again = ask(hub.endpoint, tmp_path, MODEL)
    assert "damaged" not in again["log"]


def test_damage_from_before_the_first_use_is_noticed(hub: FakeHub, tmp_path: Path) -> None:
    fill = "from huggingface_hub import hf_hub_download\nhf_hub_download('lab/lm', 'model.safetensors')"
    assert server.run_against(hub.endpoint, tmp_path, fill).returncode == 0
    _blob(tmp_path).write_bytes(WEIGHTS[:-1] + b"x")
    assert "is damaged" in ask(hub.endpoint, tmp_path, MODEL)["log"]
    assert _blob(tmp_path).read_bytes() == WEIGHTS


def test_a_hub_that_sends_other_bytes_than_it_names_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults = [Fault(f"{FILE}/{server.COMMIT}/model", body=WEIGHTS[::-1])]
    error = ask(hub.endpoint, tmp_path, MODEL)["error"]
    assert "SHA-256" in error and "HF_ENDPOINT" in error and "'model.safetensors'" in error


def test_an_intact_blob_is_read_once_and_not_by_later_runs(hub: FakeHub, tmp_path: Path) -> None:
    script = (
        "import hashlib\nfrom pathlib import Path\nread, digest = [], hashlib.file_digest\n"
        "hashlib.file_digest = lambda file, name: (read.append(file.name), digest(file, name))[1]\n"
        "from sae_research.sources.hub import Hub\nfor _ in range(2): Hub(Path('w')).model('lab/lm')\nprint(len(read))"
    )
    runs = [server.run_against(hub.endpoint, tmp_path, script) for _ in range(2)]
    assert [run.stdout.strip() for run in runs] == ["1", "0"], runs[0].stderr


def test_a_cache_that_cannot_be_written_to_is_read(hub: FakeHub, tmp_path: Path) -> None:
    online = ask(hub.endpoint, tmp_path, MODEL)
    notes = tmp_path / "sae_research_listings"
    for file in notes.rglob("*.json"):
        file.unlink()
    (notes / "intact").rmdir()
    notes.rmdir()
    notes.write_text("a file where the folder should be")
    found = ask(hub.endpoint, tmp_path, MODEL)
    assert found["revision"] == online["revision"]
    assert "not remembered" in found["log"]


def test_the_token_is_in_no_output_and_no_file(hub: FakeHub, tmp_path: Path) -> None:
    hub.repos["lab/secret"] = server.Repo({"main": {"config.json": b"{}"}}, gated=True, token="hf_right")
    hub.repos["lab/mine"] = server.Repo({"main": {"config.json": b"{}"}}, gated=True, token=TOKEN)
    hub.faults = [
        Fault(LISTING, times=3, status=503),
        Fault(LISTING, times=1, status=403),
        Fault(LISTING, times=1, body=b"<html>"),
        Fault(f"{FILE}/{server.COMMIT}/model", times=1, reset_after=1000),
    ]
    calls = [*[MODEL] * 4, "hub.model('lab/secret')", "hub.model('lab/mine')", "hub.model('lab/nothing')"]
    answers = ask_all(hub.endpoint, tmp_path, calls, HF_TOKEN=TOKEN)
    assert ["error" in answer for answer in answers] == [True, True, True, False, True, False, True]
    assert TOKEN not in str(answers)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not any(TOKEN.encode() in path.read_bytes() for path in files)
