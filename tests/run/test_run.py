"""A run is there in full or not at all, and says which cell stopped it."""

import hashlib
import json
import os
import random
import re
import shutil
import sys
from itertools import count
from types import SimpleNamespace

import nbformat
import nbformat.v4 as v4
import pytest

from llmstudy import paths
from llmstudy.run import (
    CHAPTERS,
    RunError,
    chapters,
    execute_reference,
    fingerprint,
    latest_run,
    provenance,
    reuse,
    run_study,
)
from llmstudy.run.errors import NotebookError
from llmstudy.run.notebook import Execution, load_libraries
from llmstudy.study import StudyError, load

STUDY = paths.params("default.yaml")
SHORT = {"01_evidence": (), "02_cost": ("01_evidence",), "08_memo": ("02_cost",)}

WRITE = """
from pathlib import Path
folder = Path(run)
def write(file, text):
    if folder.is_absolute():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(text)
"""
CELLS = {
    "01_evidence": ["import sys", "write('tables/figures.csv', sys.executable)"],
    "02_cost": ["x = 6 * 7", "x"],
    "08_memo": [
        "from IPython.display import Markdown\nimport sys\nprint('late', file=sys.stderr)",
        "write('results/08_memo.json', '{\"results\": {\"usd\": 0.1}}')\nMarkdown('# Stay?')",
    ],
}


def write_notebook(file, *sources):
    cells = [
        v4.new_code_cell(
            "study = ''\nrun = ''  # str: a folder", metadata={"tags": ["parameters"]}
        ),
        v4.new_code_cell(WRITE, metadata={"tags": ["setup"]}),
        *map(v4.new_code_cell, sources),
    ]
    nbformat.write(v4.new_notebook(cells=cells), file)
    return file


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    """A folder of three tiny chapters, which the runs of this module execute."""
    folder = tmp_path_factory.mktemp("notebooks")
    for name, sources in CELLS.items():
        write_notebook(folder / f"{name}.ipynb", *sources)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "notebooks", lambda: folder)
        patch.setattr(chapters, "CHAPTERS", SHORT)
        patch.setattr("llmstudy.run.reference.CHAPTERS", SHORT)
        # these chapters say nothing that a memo must say: tests/memo/test_lint.py checks real ones
        patch.setattr("llmstudy.run.pages.lint.check", lambda page: None)
        patch.setattr("llmstudy.run.pages.write_gateway", lambda folder, study: "")
        yield folder


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def done(books, out):
    return run_study(STUDY, out, progress=False)


@pytest.fixture
def broken(books):
    """Replaces a chapter until the end of the test."""
    kept = {}

    def break_(name, *sources):
        file = books / f"{name}.ipynb"
        kept.setdefault(file, file.read_bytes())
        write_notebook(file, *sources)

    yield break_
    for file, content in kept.items():
        file.write_bytes(content)


def files(folder):
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_a_run_is_all_in_its_folder(done, out):
    found = set(files(done.folder))
    assert found >= {
        *(f"{name}.html" for name in SHORT),
        *(f"notebooks/{name}.ipynb" for name in SHORT),
        *("index.html", "memo.html", "results.json", "figures.csv", "provenance.json"),
    }
    assert set(done.paths) >= {"memo", "index", "results", "figures", "provenance"}
    assert all(path.is_file() for path in done.paths.values())
    assert done.folder == out / "default" / done.run_id
    assert json.loads(done.paths["results"].read_text()) == {"usd": 0.1}


def test_there_is_a_pdf_or_the_command_that_adds_it(done):
    assert ("pdf" in done.paths) != bool(done.note)
    assert done.note == "" or "install" in done.note


def test_the_index_leads_to_every_file(done):
    links = re.findall(r'href="([^"#]+)"', done.paths["index"].read_text())
    assert set(links) == set(files(done.folder))


def test_the_kernel_is_this_interpreter(done):
    assert done.paths["figures"].read_text() == sys.executable


def test_executed_notebooks_name_the_folder_they_lie_in(done):
    for name in SHORT:
        text = (done.folder / "notebooks" / f"{name}.ipynb").read_text()
        assert ".partial" not in text
        assert str(done.folder) in text


def test_provenance_tells_what_the_run_was_made_of(done):
    record = json.loads(done.paths["provenance"].read_text())
    sha = hashlib.sha256(STUDY.read_bytes()).hexdigest()
    assert record["study_sha256"] == sha
    for file in paths.data().glob("*.csv"):
        assert record["data_sha256"][file.name] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert set(record["seconds"]) == set(SHORT)
    assert record["started"] < record["finished"]
    assert record["command"] == f"llmstudy run {STUDY}"
    assert record["seed"] == 20261123
    assert re.fullmatch(r"[0-9a-f]{40}", record["git_sha"] or "0" * 40)


def test_the_same_study_gives_the_same_bytes(done, tmp_path):
    again = run_study(STUDY, tmp_path, progress=False, fresh=True)
    for key in {"memo", "results", "figures", "pdf", "index"} & set(done.paths):
        assert again.paths[key].read_bytes() == done.paths[key].read_bytes(), key
    assert again.run_id[-6:] == done.run_id[-6:]


def test_a_failed_run_leaves_the_last_one_and_says_where_it_stopped(done, out, broken):
    before = files(done.folder)
    broken("01_evidence", "kept = 'so far'\nkept", "# the log\n1 / 0")
    with pytest.raises(RunError) as error:
        run_study(STUDY, out, progress=False)
    (failed,) = (out / "default").glob("failed-*")
    assert str(error.value) == (
        "01_evidence: cell [5] `# the log` failed with ZeroDivisionError: division by zero. "
        f"What was written is in {failed}."
    )
    assert "so far" in (failed / "notebooks" / "01_evidence.ipynb").read_text()
    assert files(done.folder) == before
    assert latest_run("default", out) == done.folder
    assert not list((out / "default").glob(".*"))


def test_a_memo_that_cannot_be_shown_in_full_is_a_failed_run(broken, monkeypatch, tmp_path):
    monkeypatch.setattr(chapters, "CHAPTERS", {"08_memo": ()})
    broken("08_memo", "from IPython.display import SVG\nSVG('<svg></svg>')")
    with pytest.raises(RunError, match=r"08_memo: A picture has no text alternative"):
        run_study(STUDY, tmp_path, progress=False)
    assert latest_run("default", tmp_path) is None


def test_a_study_that_cannot_be_used_writes_nothing(tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text("study: x\n")
    with pytest.raises(StudyError, match=r"study\.yaml:1"):
        run_study(study, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_a_log_that_cannot_be_read_is_told_before_any_chapter_runs(tmp_path):
    study = tmp_path / "study.yaml"
    log = "requests: {path: gone.csv, format: azure}\n"
    study.write_text(log + paths.params("default.yaml").read_text())
    with pytest.raises(ValueError, match=r"gone\.csv: there is no such file"):
        run_study(study, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_the_latest_run_is_the_last_finished_one(tmp_path):
    assert latest_run("acme", tmp_path) is None
    for name in (
        "20261123T100000Z-aaaaaa",
        "20261124T090000Z-000000",
        "failed-20261125T000000Z-bbbbbb",
        ".20261126T000000Z-cccccc.partial",
    ):
        (tmp_path / "acme" / name).mkdir(parents=True)
        (tmp_path / "acme" / name / "provenance.json").write_text("{}")
    assert latest_run("acme", tmp_path).name == "20261124T090000Z-000000"


# ---- the memo before this one -------------------------------------------------------------------


@pytest.fixture
def comparison(monkeypatch):
    """Any folder is a run of the study that a file in it names; what has changed is made up."""

    def read_run(folder):
        if not (folder / "study").is_file():
            raise ValueError(f"{folder} is not a run that can be compared")
        results = {"study": (folder / "study").read_text()}
        return SimpleNamespace(results=results, run_id="before", study=load(STUDY))

    def compared(then, now):
        return {"then": {"run_id": then.run_id}, "now": {"run_id": now}, "looks": ["Look!"]}

    monkeypatch.setattr("llmstudy.run.record.read_run", read_run)
    monkeypatch.setattr("llmstudy.run.record.run_under_way", lambda draft, run_id, *_: run_id)
    monkeypatch.setattr("llmstudy.compare.runs.compared", compared)


def earlier(folder, study):
    folder.mkdir(parents=True)
    (folder / "study").write_text(study)
    return folder


def test_the_memo_is_written_when_what_has_changed_is_known(comparison, broken, tmp_path):
    read = "print((folder / 'results/diff.json').read_text() if folder.is_absolute() else '')"
    broken("08_memo", read, *CELLS["08_memo"])
    before = earlier(tmp_path / "other", "default")
    runs = [run_study(STUDY, tmp_path / out, progress=False, previous=before) for out in ("a", "b")]
    changes = [(run.folder / "results" / "diff.json").read_bytes() for run in runs]
    now = {"then": {"run_id": "before"}, "now": {"run_id": None}, "looks": ["Look!"]}
    assert json.loads(changes[0]) == now
    assert changes[0] == changes[1]
    assert runs[0].paths["memo"].read_bytes() == runs[1].paths["memo"].read_bytes()
    record = json.loads(runs[0].paths["provenance"].read_text())
    assert record["previous"] == "before"
    assert record["command"] == f"llmstudy run {STUDY} --previous {before}"


def test_a_memo_follows_the_latest_run_that_can_be_compared_and_else_none(
    comparison, books, variant, tmp_path
):
    file = variant("default")
    for name, study in (("20261101T000000Z-aaaaaa", "default"), ("20261102T000000Z-bbbbbb", None)):
        folder = tmp_path / "out" / "default" / name
        folder.mkdir(parents=True) if study is None else earlier(folder, study)
    unread = run_study(file, tmp_path / "out", progress=False)
    assert not (unread.folder / "results" / "diff.json").exists()
    (unread.folder / "study").write_text("default")
    file.write_text(file.read_text() + "# a word more\n")
    follows = run_study(file, tmp_path / "out", progress=False)
    assert (follows.folder / "results" / "diff.json").is_file()
    assert follows.note.startswith("Look!")


def test_the_memo_of_a_run_repeated_on_the_same_inputs_is_the_same(comparison, books, tmp_path):
    before = earlier(tmp_path / "before", "default")
    first = run_study(STUDY, tmp_path / "out", progress=False, previous=before)
    second = run_study(STUDY, tmp_path / "out", progress=False)
    changes = [run.folder / "results" / "diff.json" for run in (first, second)]
    assert changes[0].read_bytes() == changes[1].read_bytes()
    assert json.loads(second.paths["provenance"].read_text())["previous"] == "before"
    assert second.note == first.note


@pytest.mark.parametrize(
    ("study", "says"), [(None, "is not a run"), ("acme", "a run of acme, not of default")]
)
def test_a_previous_run_that_cannot_be_used_writes_nothing(comparison, tmp_path, study, says):
    before = tmp_path / "before" if study is None else earlier(tmp_path / "before", study)
    with pytest.raises(ValueError, match=says):
        run_study(STUDY, tmp_path / "out", progress=False, previous=before)
    assert not (tmp_path / "out").exists()


# ---- chapters that need no execution ------------------------------------------------------------


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """The folder of the cache, empty at first."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "llmstudy" / "chapters"


@pytest.fixture
def run(cache, books, tmp_path):
    """Runs a study. Returns: the run, and the chapters that were executed."""

    outs = (tmp_path / f"out-{n}" for n in count())  # two runs of one second have one name

    def run_(study=STUDY, **options):
        done = run_study(study, next(outs), progress=False, **options)
        record = json.loads(done.paths["provenance"].read_text())
        assert record["seconds"].keys() | record["reused"].keys() == set(SHORT)
        return done, set(record["seconds"])

    return run_


def test_a_run_on_the_same_inputs_executes_nothing_and_is_the_same(run):
    first, executed = run()
    assert executed == set(SHORT)
    second, executed = run()
    assert executed == set()
    before, after = files(first.folder), files(second.folder)
    record = json.loads(after.pop("provenance.json"))
    assert record["reused"] == dict.fromkeys(SHORT, first.run_id)
    del before["provenance.json"]
    folders = [str(done.folder).encode() for done in (second, first)]
    renamed = {name: content.replace(*folders) for name, content in after.items()}
    assert renamed == before
    assert run(fresh=True)[1] == set(SHORT)


def test_an_edited_chapter_is_executed_and_so_are_those_that_read_what_it_now_writes(run, broken):
    run()
    broken("02_cost", *CELLS["02_cost"], "1 + 1")
    assert run()[1] == {"02_cost"}
    broken("02_cost", "write('results/02_cost.json', '{}')")
    assert run()[1] == {"02_cost", "08_memo"}


def test_an_edited_measure_has_its_chapters_executed(run, monkeypatch, tmp_path):
    package = tmp_path / "package"
    shutil.copytree(paths.ROOT / "llmstudy", package)
    monkeypatch.setattr(provenance, "__file__", str(package / "run" / "provenance.py"))
    run()
    assert run()[1] == set()
    with (package / "measures" / "cost.py").open("a") as file:
        file.write("# a word more\n")
    assert run()[1] == set(SHORT)
    with (package / "tables" / "columns.csv").open("a") as file:
        file.write("\n")
    assert run()[1] == set(SHORT)


def test_an_edited_study_log_or_probe_run_has_its_chapters_executed(run, monkeypatch, variant):
    file = variant("default")
    run(file)
    assert run(file)[1] == set()
    file.write_text(file.read_text() + "# a word more\n")
    assert run(file)[1] == set(SHORT)
    made_of = provenance.made_of
    for key in ("log_sha256", "probes_sha256", "lock_sha256", "python"):
        other = {key: "other"}
        with monkeypatch.context() as patch:
            patch.setattr(provenance, "made_of", lambda *of, other=other: made_of(*of) | other)
            assert run(file)[1] == set(SHORT), key


def test_what_was_edited_while_a_chapter_ran_is_not_kept(run, broken, variant):
    file = variant("default")
    edit = f"file = Path({str(file)!r})\nfile.write_text(file.read_text() + '# a word more\\n')"
    broken("02_cost", edit)
    text = file.read_text()
    run(file)
    file.write_text(text)
    assert run(file)[1] >= {"02_cost"}


def test_the_chapters_before_one_that_failed_are_not_executed_again(run, broken):
    broken("08_memo", "1 / 0")
    with pytest.raises(RunError):
        run()
    broken("08_memo", *CELLS["08_memo"])
    assert run()[1] == {"08_memo"}


def test_a_chapter_finds_the_results_of_those_that_it_reads_and_no_others(run, broken, monkeypatch):
    broken("01_evidence", *CELLS["01_evidence"], "write('results/01_evidence.json', '{}')")
    broken("02_cost", "write('results/02_cost.json', '{}')")
    broken("08_memo", "print(sorted(f.name for f in folder.glob('results/*')))", *CELLS["08_memo"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            chapters, "CHAPTERS", {"01_evidence": (), "02_cost": (), "08_memo": ("02_cost",)}
        )
        done = run()[0]
    assert "['02_cost.json']" in (done.folder / "notebooks" / "08_memo.ipynb").read_text()


@pytest.mark.parametrize("content", [b"", b"no ZIP file", "half", "flipped"])
def test_a_broken_cache_counts_as_none(run, cache, content):
    run()
    for file in cache.iterdir():
        whole = file.read_bytes()
        half = len(whole) // 2
        broken = {"half": whole[:half], "flipped": whole[:half] + b"#####" + whole[half + 5 :]}
        file.write_bytes(broken.get(content, content))
    assert run()[1] == set(SHORT)
    assert run()[1] == set()


def test_where_no_cache_can_be_written_every_chapter_is_executed(run, cache):
    cache.parent.parent.mkdir()
    cache.parent.write_text("no folder")
    assert run()[1] == set(SHORT)
    assert run()[1] == set(SHORT)


def test_the_cache_keeps_what_was_used_last(cache, monkeypatch, tmp_path):
    (tmp_path / "a").write_bytes(random.Random(1).randbytes(1000))
    monkeypatch.setattr(reuse, "MOST_BYTES", 4000)
    for n, key in enumerate("vwx"):
        reuse.store(key, tmp_path, ["a"], n)
        os.utime(cache / f"{key}.zip", (n, n))
    assert reuse.take("v", tmp_path / "taken") == 0
    assert (tmp_path / "taken" / "a").read_bytes() == (tmp_path / "a").read_bytes()
    reuse.store("y", tmp_path, ["a"], 3)
    assert {file.stem for file in cache.iterdir()} == {"v", "x", "y"}
    assert reuse.take("w", tmp_path) is None


# ---- one notebook, and several at once ----------------------------------------------------------

PARAMETERS = {"study": "s", "run": "r"}


def execute(tmp_path, *sources, timeout_s=60.0, parameters=PARAMETERS):
    load_libraries()
    source = write_notebook(tmp_path / "source.ipynb", *sources)
    execution = Execution(source, tmp_path / "target.ipynb", parameters, timeout_s)
    execution.finish()


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import time; time.sleep(600)", r"cell \[4\] `import time; time.sleep\(600\)` ran longer"),
        ("import os; os._exit(1)", r"cell \[4\] `import os; os._exit\(1\)` ended its kernel"),
        ("raise ValueError('one\\ntwo')", r"failed with ValueError: one$"),
    ],
)
def test_a_cell_that_stops_a_notebook_is_named(tmp_path, source, sentence):
    with pytest.raises(NotebookError, match=sentence):
        execute(tmp_path, source, timeout_s=1.0)
    assert (tmp_path / "target.ipynb").is_file()


def test_a_parameter_that_nobody_reads_is_an_error(tmp_path):
    with pytest.raises(NotebookError, match="does not set horizon"):
        execute(tmp_path, parameters={**PARAMETERS, "horizon": "12"})


def test_state_does_not_leak_from_one_notebook_to_the_next(tmp_path):
    source = "import json\nassert not hasattr(json, 'left_behind')\njson.left_behind = 1"
    execute(tmp_path, source)
    execute(tmp_path, source)


def test_chapters_that_do_not_wait_for_each_other_run_side_by_side(books, monkeypatch, tmp_path):
    meet = (
        "import time\nfrom pathlib import Path\nPath('{}').touch()\n"
        "while not Path('{}').exists(): time.sleep(0.01)"
    )
    write_notebook(books / "left.ipynb", meet.format("left", "right"))
    write_notebook(books / "right.ipynb", meet.format("right", "left"))
    monkeypatch.setattr(chapters, "CHAPTERS", {"left": (), "right": ()})
    monkeypatch.setattr(chapters, "CELL_TIMEOUT_S", 30.0)
    load_libraries()

    def begin(name):
        return chapters.begin_chapter(name, PARAMETERS, tmp_path)

    ended = {name for some in chapters.executed(begin, False) for name in some}
    assert ended == {"left", "right"}


def test_the_probe_is_told_to_its_chapter_alone_which_then_has_the_time_it_takes(monkeypatch):
    begun = []
    monkeypatch.setattr(chapters, "Execution", lambda *given: begun.append(given))
    for name in CHAPTERS:
        chapters.begin_chapter(name, {**PARAMETERS, "probe": "gpu"}, paths.ROOT)
        (_, _, parameters, limit_s) = begun[-1]
        probing = name == "05_self_hosting"
        assert parameters == PARAMETERS | ({"probe": "gpu"} if probing else {})
        assert limit_s == (7200 if probing else 300)


def test_every_chapter_comes_after_those_whose_results_it_reads():
    def earlier(name):
        return {name}.union(*map(earlier, CHAPTERS[name]))

    for name in CHAPTERS:
        cells = nbformat.read(paths.ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        assert set(re.findall(r'"(\d\d_\w+)"', code)) <= earlier(name)
    assert earlier("08_memo") == set(CHAPTERS) - {"09_source_memo"}  # for which nothing waits


# ---- the reference outputs ----------------------------------------------------------------------


@pytest.fixture
def reference(books, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    return tmp_path / "outputs" / "reference"


def test_the_reference_keeps_outputs_but_nothing_of_the_moment(reference, books):
    execute_reference(progress=False)
    before = files(reference)
    execute_reference(progress=False)
    assert files(reference) == before
    assert set(before) == {*(f"{name}.ipynb" for name in SHORT), "fingerprint.json"}
    found = json.loads(before["fingerprint.json"])
    assert found == {name: fingerprint(books / f"{name}.ipynb") for name in SHORT}
    notebook = nbformat.read(reference / "02_cost.ipynb", as_version=4)
    assert notebook.cells[-1].outputs[0].data["text/plain"] == "42"
    assert all(c.execution_count for c in notebook.cells if c.cell_type == "code")
    kept = b"".join(before.values()).decode()
    assert not re.search(rf"papermill|\dT\d\d:|late\\n|{re.escape(sys.prefix)}", kept)


def test_a_reference_that_fails_is_as_it_was(reference, broken):
    reference.mkdir(parents=True)
    (reference / "kept.ipynb").write_text("{}")
    broken("01_evidence", "1 / 0")
    with pytest.raises(RunError, match=r"01_evidence: cell \[4\] `1 / 0`"):
        execute_reference(progress=False)
    assert files(reference.parent) == {"reference/kept.ipynb": b"{}"}


def test_a_fingerprint_is_of_the_source_and_not_of_its_outputs(tmp_path):
    first = fingerprint(write_notebook(tmp_path / "a.ipynb", "1 + 1"))
    notebook = nbformat.read(tmp_path / "a.ipynb", as_version=4)
    notebook.cells[-1].outputs = [v4.new_output("stream", text="2")]
    nbformat.write(notebook, tmp_path / "b.ipynb")
    assert fingerprint(tmp_path / "b.ipynb") == first
    assert fingerprint(write_notebook(tmp_path / "c.ipynb", "1 + 2")) != first


# ---- one folder, one study ----------------------------------------------------------------------


def test_a_copied_study_with_an_old_name_does_not_land_in_the_other_s_folder(done, out, variant):
    copied = variant("default", ("seed: ", "seed: 1"))
    with pytest.raises(
        ValueError, match=r"is also the name of .*default\.yaml.* a name of its own"
    ):
        run_study(copied, out, progress=False)
    assert not list(out.glob("*/.*partial"))


def test_no_study_lands_in_a_folder_of_the_project(variant, monkeypatch):
    named = variant("default", ("study: default", "study: reference"))
    monkeypatch.chdir(paths.ROOT)
    with pytest.raises(ValueError, match="give the study another"):
        run_study(named, progress=False)
