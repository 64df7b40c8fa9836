"""Hub: the embedded world, local folders, and the real huggingface_hub client against a small server."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import hub_server as server
from support.hub_server import ask, ask_all

from sae_research.errors import UserError
from sae_research.sources.hub import Hub
from sae_research.sources.model_names import full_model_id


@pytest.fixture
def hub() -> Iterator[Any]:
    model = {
        "config.json": b"{}",
        "model.safetensors": b"weights",
        "pytorch_model.bin": b"pickle",
        "tokenizer.json": b"{}",
        "onnx/config.json": b"{}",
        "README.md": b"read me",
    }
    packed = {"README.md": b"read me", "lm.Q4_1.gguf": b"GGUF 4"}
    sae = {"layer_3/k_5/cfg.json": b"{}", "layer_3/k_5/sae_weights.safetensors": b"w", "layer_4/ae.pt": b"pickle"}
    table = {"data/train-00000-of-00002.parquet": b"a", "data/train-00001-of-00002.parquet": b"b", "script.py": b"x"}
    repos = {
        "lab/lm": server.Repo({"main": model, "step1": model}),
        "lab/one-gguf": server.Repo({"main": packed}),
        "lab/two-ggufs": server.Repo({"main": {**packed, "more/lm.Q8_0.gguf": b"GGUF 8"}}),
        "lab/saes": server.Repo({"main": sae}),
        "lab/secret": server.Repo({"main": model}, gated=True, token="hf_right"),
        "lab/down": server.Repo({"main": model}, failing=503),
        "lab/table": server.Repo({"main": table}, kind="datasets"),
        "lab/script": server.Repo(
            {"main": {"script.py": b"x"}, "refs/convert/parquet": {"plain/train/0000.parquet": b"p"}}, kind="datasets"
        ),
        "lab/sheets": server.Repo({"main": {"test.csv": b"text\nb\n", "train.csv": b"text\na\n"}}, kind="datasets"),
        "lab/lines": server.Repo(
            {"main": {"corpus-a.jsonl": b"{}"}, "refs/convert/parquet": {"corpus-a/train/0000.parquet": b"p"}},
            kind="datasets",
        ),
    }
    with server.running_hub(repos) as running:
        yield running


def test_model_snapshot_has_safetensors_and_tokenizer_but_no_pickle(hub: Any, tmp_path: Path) -> None:
    found = ask(hub.endpoint, tmp_path, "hub.model('lab/lm')")
    assert found["files"] == ["config.json", "model.safetensors", "tokenizer.json"]
    assert found["revision"] == server.COMMIT
    assert not any("pytorch_model.bin" in path for path in hub.downloads())


def test_model_at_a_named_revision(hub: Any, tmp_path: Path) -> None:
    found = ask(hub.endpoint, tmp_path, "hub.model('lab/lm', revision='step1')")
    assert found["revision"] == hub.commit_of("step1")


def test_a_gguf_file_by_its_repository_or_its_name(hub: Any, tmp_path: Path) -> None:
    calls = [
        "hub.model('lab/one-gguf')", "hub.model('lab/two-ggufs/more/lm.Q8_0.gguf')", "hub.model('lab/two-ggufs')",
        "hub.model('lab/two-ggufs/lm.Q2.gguf')",
    ]  # fmt: skip
    one, named, several, absent = ask_all(hub.endpoint, tmp_path, calls)
    assert (one["name"], one["text"], one["revision"]) == ("lm.Q4_1.gguf", "GGUF 4", server.COMMIT)
    assert (named["name"], named["text"]) == ("lm.Q8_0.gguf", "GGUF 8")
    assert "name one of them: lab/two-ggufs/lm.Q4_1.gguf, lab/two-ggufs/more/lm.Q8_0.gguf" in several["error"]
    assert "'lab/two-ggufs' has no file or folder 'lm.Q2.gguf'" in absent["error"]
    assert len(hub.downloads()) == 2


def test_one_file_and_a_folder_of_a_repository(hub: Any, tmp_path: Path) -> None:
    calls = ["hub.file('lab/saes', 'layer_4/ae.pt')", "hub.file('lab/saes', 'layer_3/k_5')"]
    file, folder = ask_all(hub.endpoint, tmp_path, calls)
    assert (file["name"], file["text"]) == ("ae.pt", "pickle")
    assert (folder["name"], folder["files"]) == ("k_5", ["cfg.json", "sae_weights.safetensors"])
    assert len(hub.downloads()) == 3


def test_dataset_from_its_own_parquet_and_from_the_conversion(hub: Any, tmp_path: Path) -> None:
    table, script = ask_all(hub.endpoint, tmp_path, ["hub.dataset('lab/table')", "hub.dataset('lab/script')"])
    assert table["files"] == ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]
    assert script["files"] == ["plain/train/0000.parquet"]
    assert script["revision"] == hub.commit_of("refs/convert/parquet")
    assert not any(path.endswith("script.py") for path in hub.downloads())


def test_a_dataset_without_parquet_is_read_as_it_is_where_its_tables_are_named_after_splits(
    hub: Any, tmp_path: Path
) -> None:
    """All else may be of several configurations, which the hub's conversion tells apart."""
    sheets, lines = ask_all(hub.endpoint, tmp_path, ["hub.dataset('lab/sheets')", "hub.dataset('lab/lines')"])
    assert sheets["files"] == ["test.csv", "train.csv"]
    assert sheets["revision"] == server.COMMIT
    assert lines["files"] == ["corpus-a/train/0000.parquet"]
    script = (
        "from pathlib import Path\nfrom sae_research.data.running import documents\n"
        "from sae_research.sources.hub import Hub\nprint(*documents(Hub(Path('w')), 'lab/sheets', 'train'))"
    )
    assert server.run_against(hub.endpoint, tmp_path, script).stdout.strip() == "a"


def test_listing_downloads_nothing_and_fetch_only_what_is_asked(hub: Any, tmp_path: Path) -> None:
    call = "hub.dataset_files('lab/table', lambda name: name.endswith('.parquet'))"
    script = (
        f"from pathlib import Path\nfrom sae_research.sources.hub import Hub\nhub = Hub(Path('w'))\nfiles = {call}\n"
    )
    assert server.run_against(hub.endpoint, tmp_path, script).returncode == 0
    assert hub.downloads() == []
    done = server.run_against(hub.endpoint, tmp_path, script + "print(files.fetch(files.names[1]).read_text())")
    assert done.stdout.strip() == "b"
    assert len(hub.downloads()) == 1


def test_missing_file_names_repository_file_and_what_there_is(hub: Any, tmp_path: Path) -> None:
    error = ask(hub.endpoint, tmp_path, "hub.file('lab/saes', 'layer_9/ae.pt')")["error"]
    assert "'lab/saes'" in error and "'layer_9/ae.pt'" in error and "layer_4/ae.pt" in error


def test_gated_repository_says_how_to_log_in_and_a_token_opens_it(hub: Any, tmp_path: Path) -> None:
    error = ask(hub.endpoint, tmp_path, "hub.model('lab/secret')")["error"]
    assert "'lab/secret'" in error and "gated" in error and "hf auth login" in error and "HF_TOKEN" in error
    opened = ask(hub.endpoint, tmp_path, "hub.model('lab/secret')", HF_TOKEN="hf_right")
    assert "model.safetensors" in opened["files"]


REFUSALS = {
    "hub.model('lab/nothing')": ["'lab/nothing'", "correct the id", "HF_TOKEN"],
    "hub.dataset('lab/nothing')": ["data set 'lab/nothing'", "correct the id"],
    "hub.model('lab/lm', revision='v9')": ["'lab/lm'", "'v9'", "no such revision"],
    "hub.model('lab/down')": ["'lab/down'", "503", "try again later"],
    "hub.model('not a name')": ["'not a name'", "owner/name"],
    "hub.model('./nowhere')": ["'./nowhere'", "no such folder"],
}


def test_other_refusals(hub: Any, tmp_path: Path) -> None:
    for (call, parts), answer in zip(REFUSALS.items(), ask_all(hub.endpoint, tmp_path, list(REFUSALS)), strict=True):
        for part in parts:
            assert part in answer["error"], call


def test_unreachable_hub_names_repository_file_and_remedies(tmp_path: Path) -> None:
    with server.running_hub({}) as gone:
        endpoint = gone.endpoint
    error = ask(endpoint, tmp_path, "hub.file('lab/saes', 'layer_4/ae.pt')")["error"]
    for part in ("'lab/saes'", endpoint, "cannot reach", "HF_HUB_OFFLINE", "local folder"):
        assert part in error


def test_offline_without_cache_says_so(tmp_path: Path) -> None:
    error = ask("http://127.0.0.1:9", tmp_path, "hub.model('lab/lm')", HF_HUB_OFFLINE="1")["error"]
    assert "'lab/lm'" in error and "offline" in error and "HF_HUB_OFFLINE" in error


def test_offline_and_unreachable_use_the_cache_of_the_same_repository(hub: Any, tmp_path: Path) -> None:
    online = ask(hub.endpoint, tmp_path, "hub.model('lab/lm')")
    asked = len(hub.requests)
    offline = ask(hub.endpoint, tmp_path, "hub.model('lab/lm')", HF_HUB_OFFLINE="1")
    assert len(hub.requests) == asked
    unreachable = ask("http://127.0.0.1:9", tmp_path, "hub.model('lab/lm')")
    for name in ("files", "revision", "waits"):
        assert offline[name] == unreachable[name] == online[name]
    assert "hub out of reach" in unreachable["log"] and "hub out of reach" not in online["log"]


def test_offline_names_the_one_file_that_is_not_cached(hub: Any, tmp_path: Path) -> None:
    ask(hub.endpoint, tmp_path, "hub.file('lab/saes', 'layer_4/ae.pt')")
    error = ask(hub.endpoint, tmp_path, "hub.file('lab/saes', 'layer_3/k_5')", HF_HUB_OFFLINE="1")["error"]
    assert "'lab/saes'" in error and "layer_3/k_5/cfg.json" in error


def test_offline_reads_what_the_hub_client_itself_had_cached(hub: Any, tmp_path: Path) -> None:
    fill = "from huggingface_hub import hf_hub_download\nfor name in ('config.json', 'model.safetensors'):\n"
    fill += "    hf_hub_download('lab/lm', name)"
    assert server.run_against(hub.endpoint, tmp_path, fill).returncode == 0
    found = ask(hub.endpoint, tmp_path, "hub.model('lab/lm')", HF_HUB_OFFLINE="1")
    assert found["files"] == ["config.json", "model.safetensors"]
    assert found["revision"] == server.COMMIT


def _parquet(texts: list[str]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), sink)
    return sink.getvalue()


def test_texts_stream_from_the_conversion_shard_by_shard(tmp_path: Path) -> None:
    shards = {f"plain_text/partial-train/000{i}.parquet": _parquet([f"{i} a", f"{i} b"]) for i in range(3)}
    branches = {"main": {"openwebtext.py": b"raise SystemExit('remote code was run')"}, "refs/convert/parquet": shards}
    script = (
        "from itertools import islice\nfrom pathlib import Path\nfrom sae_research.sources.hub import Hub\n"
        "from sae_research.data.tables import read_files, split_files\n"
        "files = split_files(Hub(Path('no-world')), 'lab/webtext', 'train')\n"
        "print(*(text for (text,) in islice(read_files(files, ['text']), 3)), sep=',')"
    )
    with server.running_hub({"lab/webtext": server.Repo(branches, kind="datasets")}) as running:
        online = server.run_against(running.endpoint, tmp_path, script)
        assert online.stdout.strip() == "0 a,0 b,1 a", online.stderr
        fetched = [path.rpartition("/")[2] for path in running.downloads()]
        assert fetched == ["0000.parquet", "0001.parquet"]
    offline = server.run_against(running.endpoint, tmp_path, script, HF_HUB_OFFLINE="1")
    assert offline.stdout == online.stdout
    further = server.run_against(running.endpoint, tmp_path, script.replace(", 3)", ", 5)"), HF_HUB_OFFLINE="1")
    assert "UserError" in further.stderr
    assert "0002.parquet" in further.stderr


def _folder(root: Path) -> Path:
    (root / "data").mkdir(parents=True)
    (root / "config.json").write_text("{}")
    (root / "model.safetensors").write_bytes(b"weights")
    (root / "data" / "train-0.parquet").write_bytes(b"rows")
    return root


def test_embedded_names_lie_in_the_world(tmp_path: Path) -> None:
    world = tmp_path / "world"
    _folder(world / "models" / "lm")
    _folder(world / "datasets" / "text")
    hub = Hub(world)
    assert hub.model("embedded/lm").path == world / "models" / "lm"
    assert hub.dataset("embedded/text").path == world / "datasets" / "text"
    assert hub.file("embedded/lm", "config.json").path == world / "models" / "lm" / "config.json"
    assert hub.file("embedded/lm", "data").path.is_dir()
    for call in (lambda: hub.model("embedded/other"), lambda: hub.dataset("embedded/lm")):
        with pytest.raises(UserError, match="setup stage"):
            call()
    with pytest.raises(UserError, match=r"'ae\.pt'.*model\.safetensors"):
        hub.file("embedded/lm", "ae.pt")


def test_digest_follows_names_and_bytes_and_nothing_else(tmp_path: Path) -> None:
    first, second = _folder(tmp_path / "a"), tmp_path / "b"
    shutil.copytree(first, second)
    hub = Hub(tmp_path)
    revision = hub.model(str(first)).revision
    assert revision.startswith("sha256:") and hub.model(str(second)).revision == revision
    (second / "README.md").write_text("a word")
    assert hub.model(str(second)).revision == revision
    (second / "model.safetensors").write_bytes(b"weightz")
    assert hub.model(str(second)).revision != revision
    (first / "model.safetensors").rename(first / "other.safetensors")
    assert hub.model(str(first)).revision != revision


def test_local_revision_must_be_the_content(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "a")
    hub = Hub(tmp_path)
    found = hub.model(str(folder))
    assert hub.model(str(folder), revision=found.revision) == found
    with pytest.raises(UserError, match="remove it"):
        hub.model(str(folder), revision="main")


def test_a_home_folder_is_no_model_and_is_not_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "notes.json").write_text("{}")
    monkeypatch.setenv("HOME", str(tmp_path))

    def walk(self: Path, _pattern: str) -> Iterator[Path]:
        raise AssertionError(f"{self} is walked")

    monkeypatch.setattr(Path, "rglob", walk)
    with pytest.raises(UserError, match=r"model '~': .* has no config\.json, so it is no model folder"):
        Hub(tmp_path / "world").model("~")


def test_a_folder_of_very_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        (tmp_path / f"{number}.parquet").touch()
    monkeypatch.setattr("sae_research.sources.folders._MOST_FILES", 10)
    calls = (
        lambda: Hub(tmp_path).dataset(str(tmp_path)),
        lambda: Hub(tmp_path).file(str(tmp_path), "."),
        lambda: Hub(tmp_path).file(str(tmp_path), "absent"),
    )
    for call in calls:
        with pytest.raises(UserError, match=r"more than 10 files.*give the path of the folder"):
            call()


@pytest.mark.parametrize("name", ["~nobodyatall/x", "x" * 5000, "embedded/../..", "embedded/" + "x" * 5000])
def test_names_that_can_be_no_path_are_refused(tmp_path: Path, name: str) -> None:
    for call in (Hub(tmp_path).model, Hub(tmp_path).dataset):
        with pytest.raises(UserError, match=f"'{name[:40]}"):
            call(name)


@pytest.mark.parametrize("filename", ["../b/config.json", "data/../../b", "/etc/passwd", "x" * 5000])
def test_files_outside_their_folder_are_refused(tmp_path: Path, filename: str) -> None:
    folder = _folder(tmp_path / "a")
    _folder(tmp_path / "b")
    with pytest.raises(UserError, match="correct 'filename'"):
        Hub(tmp_path).file(str(folder), filename)


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("pythia-70m-deduped", "EleutherAI/pythia-70m-deduped"),
        ("gemma-2-2b", "google/gemma-2-2b"),
        ("gpt2-small", "openai-community/gpt2"),
        ("lab/pythia-x", "lab/pythia-x"),
        ("unheard-of", "unheard-of"),
    ],
)
def test_short_names_are_those_of_transformer_lens(name: str, full: str) -> None:
    assert full_model_id(name) == full
