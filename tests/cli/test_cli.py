"""What each command promises: its exit code, what stands on stdout, and what is left behind."""

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import duckdb
import pandas as pd
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

import llmstudy.run
from llmstudy import io, paths, study
from llmstudy.cli import app, doctor, init
from llmstudy.cli.check import _show_forecast
from llmstudy.run import made_of, pages

NO_ARGON = (
    ("current_route: google-gemini-4-argon", "current_route: openai-gpt-6.1-terra"),
    ("candidates: [openai-gpt-6.1-terra, ", "candidates: ["),
)

_TEXT = paths.params("default.yaml").read_text(encoding="utf-8")
ONLY_ARGON = (
    _TEXT[_TEXT.index("  support-chat:\n") : _TEXT.index("  long-context-reasoning:\n")],
    "",
)
"""Leaves the default study the one workload whose price expires."""


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture(autouse=True)
def _no_earlier_run(monkeypatch):
    monkeypatch.setattr(llmstudy.run, "latest_run", lambda name, out=None: None)


def llmstudy_(*arguments, **more):
    return CliRunner().invoke(app, [str(each) for each in arguments], **more)


def strict_json(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


# --- the manual -----------------------------------------------------------------------------


def test_help_names_every_command_and_every_option_with_a_word_on_each():
    root = typer.main.get_command(app)
    wide = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    first_page = llmstudy_("--help", env=wide).stdout
    assert set(root.commands) == {
        "init",
        "run",
        "sweep",
        "check",
        "diff",
        "notebooks",
        "doctor",
        "requests",
        "probe",
        "capacity",
        "eval",
        "export",
        "canary",
    }
    exports = root.commands["export"].commands
    assert set(exports) == {"gateway", "verify"}
    evals = root.commands["eval"].commands
    assert set(evals) == {
        "plan",
        "items",
        "run",
        "import",
        "audit",
        "calibrate",
        "compare",
        "gate",
    }
    probes = root.commands["probe"].commands
    assert set(probes) == {"endpoint", "search", "plan", "compare", "vllm", "import"}
    assert all(name in first_page for name in root.commands)
    capacities = root.commands["capacity"].commands
    assert set(capacities) == {"fit", "size"}
    logs = root.commands["requests"].commands
    assert set(logs) == {"import", "summary", "reconcile", "formats"}
    groups = {
        "probe": probes,
        "capacity": capacities,
        "requests": logs,
        "eval": evals,
        "export": exports,
        "canary": root.commands["canary"].commands,
    }
    commands = {name: command for name, command in root.commands.items() if name not in groups}
    commands |= {f"{g} {name}": c for g, of in groups.items() for name, c in of.items()}
    for name, command in commands.items():
        page = llmstudy_(*name.split(), "--help", env=wide).stdout
        assert "Exit codes:" in page
        assert f"llmstudy {name}" in page
        for parameter in command.params:
            if parameter.name != "help":
                assert parameter.help, parameter.name
            if parameter.param_type_name == "option":
                assert parameter.opts[0] in page
        assert "--json" in page


def test_help_loads_no_library_that_takes_its_time():
    slow = {"numpy", "pandas", "scipy", "matplotlib", "pydantic", "duckdb"}
    code = "import sys, llmstudy.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not slow & set(done.stdout.split())


def test_version_is_the_packages():
    assert llmstudy_("--version").stdout == f"llmstudy {version('llmstudy')}\n"


# --- check ----------------------------------------------------------------------------------


def checked(*arguments):
    done = llmstudy_("check", *arguments, "--json")
    found = strict_json(done.stdout)
    assert found["exit_code"] == done.exit_code
    return found


def test_check_is_silent_when_nothing_has_happened(variant):
    found = checked(variant("default", *NO_ARGON), "--on", "2026-12-02")
    assert (found["exit_code"], found["stale"]) == (0, [])
    assert "fired" not in {row["status"] for row in found["triggers"]}


def test_check_exits_3_when_a_trigger_fires_and_lists_it_first():
    found = checked("params/default.yaml", "--on", "2026-11-23")
    assert found["exit_code"] == 3
    first, *rest = found["triggers"]
    assert (first["id"], first["workload"], first["status"]) == (
        "G4", "long-context-reasoning", "fired",
    )  # fmt: skip
    assert len(rest) == 4 * 6 - 1
    assert "fired" not in {row["status"] for row in rest}
    assert found["budget"] == {
        "exceeded": False,
        "limit_usd": 60_000,
        "month_usd": pytest.approx(30_000, rel=0.1),
    }


def test_check_exits_3_when_the_bill_passes_the_budget(variant):
    tight = ("month_budget: 60 k USD", "month_budget: 1 k USD")
    found = checked(variant("source_memo", tight), "--on", "2026-11-23")
    assert (found["exit_code"], found["budget"]["exceeded"]) == (3, True)


def test_check_exits_4_when_a_price_has_expired_whatever_has_fired(variant):
    tight = ("month_budget: 60 k USD", "month_budget: 1 k USD")
    found = checked(variant("default", ONLY_ARGON, tight), "--on", "2026-12-02")
    assert (found["exit_code"], found["budget"]["exceeded"]) == (4, True)
    assert [stale["what"] for stale in found["stale"]] == ["routes.google-gemini-4-argon.price"]


def test_check_prints_what_fired_the_budget_and_what_is_stale(variant):
    file = variant("default", ONLY_ARGON)
    done = llmstudy_("check", file, "--on", "2026-12-02", env={"COLUMNS": "160"})
    assert done.exit_code == 4
    assert "G4 vendor" in done.stdout
    assert re.search(
        r"The bill of USD [\d.]+k a month is within the budget of USD 60k", done.stdout
    )
    assert "google-gemini-4-argon.price expired on 2026-12-01" in done.stdout
    assert "no run of default to compare with" in done.stderr


# One request a minute for two hours: 1,000 tokens in and 100 out, none known to be cached.
LOG = pd.DataFrame(
    {
        "ts_start": pd.date_range("2026-11-20T09:00Z", periods=120, freq="1min"),
        "workload": "product",
        "provider": "openai",
        "model_served": "gpt-4o",
        "input_tokens": 1_000,
        "output_tokens": 100,
        "ok": True,
    }
)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_check_takes_volume_and_tokens_from_a_new_log(suffix):
    path = Path(f"new.{suffix}")
    if suffix == "csv":
        LOG.to_csv(path, index=False)
    elif suffix == "jsonl":
        LOG.to_json(path, orient="records", lines=True, date_format="iso")
    else:
        duckdb.from_df(LOG).write_parquet(str(path))
    found = checked("params/source_memo.yaml", "--log", path, "--on", "2026-11-23")
    # 60 requests an hour, 20 % of the input cached at half price, 2 % repeated: list prices
    by_hand = 60 * 730 * (1_000 * (0.8 * 2.5 + 0.2 * 1.25) + 100 * 10) / 1e6 * 1.02
    assert found["budget"]["month_usd"] == pytest.approx(by_hand, rel=0.01)
    assert any("cannot size a fleet" in warning for warning in found["warnings"])


def test_check_reads_a_new_log_in_the_format_of_the_old_one(variant):
    renamed = LOG.rename(columns={"input_tokens": "prompt", "output_tokens": "answer"})
    renamed.to_csv("new.log", index=False)
    own = """requests:
  path: gone.csv
  format: csv
  columns: {ts_start: ts_start, input_tokens: prompt, output_tokens: answer, ok: ok}
  workload: product
  provider: openai
  model: gpt-4o

team:"""
    file = variant("source_memo", ("team:", own))
    assert checked(file, "--log", "new.log", "--on", "2026-11-23")["exit_code"] == 0
    old = llmstudy_("check", file, "--on", "2026-11-23")
    assert old.exit_code == 2
    assert "gone.csv: there is no such file" in old.stderr


def test_check_names_what_has_changed_since_the_run(variant):
    file = variant("source_memo")
    run = Path("run")
    io.write(run / "provenance.json", io.dumps(made_of(file, study.load(file))))
    options = ("--run", run, "--on", "2026-11-23")
    assert checked(file, *options)["exit_code"] == 0
    unread = checked(file, *options)["headline"]
    assert unread["moved_usd"] is None
    assert "results.json" in unread["why_not"]
    file.write_text(file.read_text() + "# a word more\n")
    found = checked(file, *options)
    assert found["exit_code"] == 4
    assert [stale["what"] for stale in found["stale"]] == ["the study file"]


def test_check_prints_how_the_forecast_did_and_what_broke_it(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    parts = {"volume": -3e3, "cached_input": 1.2e4, "price": 0.0}
    row = {
        "workload": "chat",
        "broke": "cached_input",
        "parts": [{"driver": driver, "usd": usd} for driver, usd in parts.items()],
        "sentences": ["chat costs more.", "Its first token is late."],
    }
    quiet = {"workload": "tags", "broke": None, "parts": None, "sentences": ["tags: no log."]}
    _show_forecast(Console(), [row, quiet])
    printed = capsys.readouterr().out
    assert printed.splitlines() == [
        "Against the forecast of the last run",
        "  chat costs more.",
        "  Its first token is late.",
        "  tags: no log.",
        "  chat, by driver: cached input +USD 12k, volume −USD 3.0k",
    ]
    _show_forecast(Console(), [])
    assert capsys.readouterr().out == ""


def test_check_compares_with_the_latest_run_of_the_study(variant, monkeypatch, tmp_path):
    file = variant("source_memo")
    record = made_of(file, study.load(file)) | {"package": "0.0.1"}
    io.write(tmp_path / "provenance.json", io.dumps(record))
    asked = []
    monkeypatch.setattr(llmstudy.run, "latest_run", lambda name: asked.append(name) or tmp_path)
    found = checked(variant("source_memo"), "--on", "2026-11-23")
    assert asked == ["source_memo"]
    assert [stale["what"] for stale in found["stale"]] == ["the version of llmstudy"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--on", "2026-11-22"], "cannot be checked on 2026-11-22"),
        (["--log", "gone.csv"], "gone.csv: there is no such file"),
        (["--log", "log.txt"], "log.txt: there is no such file"),
        (["--run", "nowhere"], "does not list what the run was made from"),
    ],
)
def test_check_refuses_what_it_cannot_use(options, says):
    done = llmstudy_("check", "params/source_memo.yaml", *options, "--json")
    assert done.exit_code == 2
    assert says in done.stderr
    assert strict_json(done.stdout) == {"exit_code": 2, "errors": done.stderr.splitlines()}


# --- mistakes in a study --------------------------------------------------------------------


@pytest.mark.parametrize("command", ["check", "run"])
def test_an_unknown_key_ends_with_file_and_line_and_no_traceback(variant, command):
    file = variant("default", ("status: draft", "statu: draft\nstatus: draft"))
    line = file.read_text().splitlines().index("statu: draft") + 1
    done = llmstudy_(command, file)
    assert done.exit_code == 2
    assert done.stderr == (f"{file}:{line}: statu is not a key of a study: remove or correct it.\n")
    assert done.stdout == ""
    assert list(Path().iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_mistake_and_no_traceback():
    Path("acme").write_text("a file")
    done = llmstudy_("init", "acme/inside")
    assert done.exit_code == 2
    assert done.stderr.startswith("acme")


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_study_that_is_not_there_is_a_mistake_that_names_init(command):
    done = llmstudy_(command, "gone.yaml", "--json")
    assert done.exit_code == 2
    assert "no such study file. Create one with `llmstudy init DIR`" in done.stderr
    assert strict_json(done.stdout)["exit_code"] == 2


# --- run ------------------------------------------------------------------------------------


@pytest.fixture
def runs(monkeypatch):
    """A run that takes no time; the list holds what each was asked for."""
    asked = []
    folder = Path("outputs/default/20261123T120000Z-abcdef")

    def run_study(study_path, out=None, probe=False, previous=None, overrides=None, fresh=False):
        study.load(study_path, overrides)
        asked.append((study_path, out, probe, previous, overrides))
        made = {"memo": folder / "memo.html", "results": folder / "results.json"}
        return llmstudy.run.RunResult(folder.name, folder, made, "No PDF: pango.")

    monkeypatch.setattr(llmstudy.run, "run_study", run_study)
    return asked


def test_run_ends_with_the_memos_path(runs):
    done = llmstudy_("run", "params/default.yaml", "--out", "elsewhere")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "outputs/default/20261123T120000Z-abcdef/memo.html"
    assert "No PDF" in done.stderr
    assert runs == [(Path("params/default.yaml"), Path("elsewhere"), False, None, {})]


def test_run_measures_on_a_gpu_only_when_asked_to(runs):
    assert llmstudy_("run", "params/default.yaml", "--probe").exit_code == 0
    assert runs == [(Path("params/default.yaml"), None, True, None, {})]


def test_run_sets_assumptions_and_refuses_what_cannot_be_set(runs):
    growth = "workloads.extraction.growth"
    set_twice = ("--set", f"{growth}=6 %/month", "--set", "seed=7")
    assert llmstudy_("run", "params/default.yaml", *set_twice).exit_code == 0
    assert runs[0][-1] == {growth: "6 %/month", "seed": 7}
    done = llmstudy_("run", "params/default.yaml", "--set", f"{growth}=6")
    assert done.exit_code == 2
    assert "overrides of params/default.yaml: workloads.extraction.growth is 6, but a unit" in (
        done.stderr
    )
    assert llmstudy_("run", "params/default.yaml", "--set", growth).exit_code == 2


def test_run_follows_the_run_that_it_is_told_to(runs):
    assert llmstudy_("run", "params/default.yaml", "--previous", "outputs/x").exit_code == 0
    assert runs == [(Path("params/default.yaml"), None, False, Path("outputs/x"), {})]


def test_run_gives_a_program_every_path(runs):
    found = strict_json(llmstudy_("run", "params/default.yaml", "--json").stdout)
    assert found["paths"]["results"].endswith("results.json")
    assert found["note"] == "No PDF: pango."


def test_a_chapter_that_fails_is_exit_1_and_one_sentence(monkeypatch):
    def fails(study_path, out=None, **options):
        raise llmstudy.run.RunError("02_cost: cell [3] `bill(x)` failed with KeyError: 'x'.")

    monkeypatch.setattr(llmstudy.run, "run_study", fails)
    done = llmstudy_("run", "params/default.yaml")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "02_cost: cell [3] `bill(x)` failed with KeyError: 'x'.\n"


# --- init -----------------------------------------------------------------------------------


def test_init_writes_a_study_from_tokens_and_invoice_alone():
    done = llmstudy_(
        "init", "acme", "--provider", "openai", "--model", "gpt-4o",
        "--monthly-tokens", "1.2B", "--invoice-usd", "4,800", "--as-of", "2026-11-23", "--json",
    )  # fmt: skip
    assert done.exit_code == 0
    found = strict_json(done.stdout)
    assert found["month_usd"] == pytest.approx(4_800)
    assert found["next"] == ["llmstudy run acme/study.yaml", "llmstudy check acme/study.yaml"]
    made = study.load(found["study"])
    assert (made.study, str(made.as_of)) == ("acme", "2026-11-23")
    assert made.unknown() == found["unknown"]
    assert checked(found["study"], "--on", "2026-11-23")["budget"]["month_usd"] == pytest.approx(
        4_800, rel=0.02
    )


def test_init_without_a_terminal_asks_nothing_and_leaves_every_question_open():
    done = llmstudy_("init", "acme", "--as-of", "2026-11-23")
    assert done.exit_code == 0
    assert "?" not in done.output
    assert len(study.load("acme/study.yaml").unknown()) == 9
    assert "llmstudy run acme/study.yaml" in done.stdout


def test_init_asks_on_a_terminal_what_no_option_answers(monkeypatch):
    monkeypatch.setattr(init, "interactive", lambda: True)
    answers = [
        "openai", "gpt-4o",
        "unknown", "", "",      # requests, tokens in and out
        "lots", "1.2B", "500",  # tokens billed, and an invoice that no split explains
        "",                     # first token
        "secret", "enterprise",
        "2",                    # peak to mean
        "no",                   # GPUs; the context was an option
        "1.2B", "4800",         # the invoice again
    ]  # fmt: skip
    done = llmstudy_(
        "init", "acme", "--context", "16k", "--as-of", "2026-11-23", "--json",
        input="\n".join(answers) + "\n",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert strict_json(done.stdout)["month_usd"] == pytest.approx(4_800)
    assert 'The answer is "lots"' in done.stderr
    assert "must be one of consumer, enterprise" in done.stderr
    assert "correct the invoice" in done.stderr
    intake = study.load("acme/study.yaml").workloads["product"].intake
    assert (intake.data_class, intake.gpu_platform) == ("enterprise", "no")
    assert (intake.peak_to_mean.value, intake.context_tokens.value) == (2, 16_000)


def test_init_never_overwrites():
    assert llmstudy_("init", "acme").exit_code == 0
    Path("acme/study.yaml").write_text("mine")
    done = llmstudy_("init", "acme", "--requests", "5")
    assert done.exit_code == 2
    assert "acme/study.yaml exists already" in done.stderr
    assert Path("acme/study.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--requests", "many"], '--requests is "many", not a number above zero'),
        (["--ttft-p95", "800"], "--ttft-p95 is 800, but a unit is missing"),
        (["--data-class", "top"], '--data-class is "top", but must be one of'),
        (["--gpu-platform", "maybe"], '--gpu-platform is "maybe", but must be one of yes, no'),
        (["--peak-to-mean", "0.5"], "peak_to_mean is 0.5 factor, but must be 1 to 100"),
        (["--provider", "openai", "--model", "gpt-4oo"], "openai lists no model 'gpt-4oo'"),
        (["--monthly-tokens", "1B"], "used only with the invoice"),
        (["--name", "Acme Corp"], '"Acme Corp" is no name for a study'),
    ],
)
def test_init_leaves_nothing_behind_when_an_answer_cannot_be_used(options, says):
    done = llmstudy_("init", "acme", *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr
    assert list(Path().iterdir()) == []


# --- how soon it answers --------------------------------------------------------------------


@pytest.mark.parametrize("command", ["import llmstudy", "import llmstudy.cli as c; c.app(['-h'])"])
def test_the_package_and_its_help_load_no_library_of_an_analysis(command):
    heavy = "pandas numpy scipy matplotlib pydantic duckdb nbconvert papermill jinja2 numba"
    shown = (
        f"import sys\ntry:\n    {command}\nexcept SystemExit:\n    pass\n"
        f"print(set('{heavy}'.split()) & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr


# --- notebooks ------------------------------------------------------------------------------


def test_notebooks_are_copied_and_copied_again(tmp_path):
    done = llmstudy_("notebooks", tmp_path / "mine")
    assert done.exit_code == 0
    assert f"jupyter lab {tmp_path / 'mine'}" in done.stdout
    bundled = {file.name: file.read_bytes() for file in paths.notebooks().glob("*.ipynb")}
    assert {file.name: file.read_bytes() for file in (tmp_path / "mine").iterdir()} == bundled
    again = strict_json(llmstudy_("notebooks", tmp_path / "mine", "--json").stdout)
    assert again["notebooks"] == sorted(bundled)


def test_a_notebook_that_was_changed_is_not_overwritten_and_none_is_copied(tmp_path):
    (tmp_path / "02_cost.ipynb").write_text("mine")
    done = llmstudy_("notebooks", tmp_path)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "has other versions of 02_cost.ipynb" in done.stderr
    assert [file.name for file in tmp_path.glob("*.ipynb")] == ["02_cost.ipynb"]
    assert (tmp_path / "02_cost.ipynb").read_text() == "mine"


# --- doctor ---------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _pdf_can_be_made(monkeypatch):
    monkeypatch.setattr(pages, "why_no_pdf", lambda: "")


@pytest.fixture
def missing(monkeypatch):
    """Makes packages look absent."""

    def hide(*names):
        def seen(name):
            if name in names:
                raise PackageNotFoundError(name)
            return version(name)

        monkeypatch.setattr(doctor, "version", seen)

    return hide


def test_doctor_names_a_missing_extra_and_its_command_and_exits_0(missing):
    missing("vllm", "pytest")
    done = llmstudy_("doctor", "--json")
    found = strict_json(done.stdout)
    assert done.exit_code == found["exit_code"] == 0
    extras = {part["name"]: part for part in found["extras"]}
    assert set(extras) == {"lab", "pii", "gpu", "test"}
    assert extras["test"]["detail"] == "lacks pytest"
    assert extras["test"]["command"] == "pip install 'pytest>=9'"
    assert all(part["ok"] for part in found["core"])


def test_doctor_exits_1_when_a_package_is_missing_or_too_old(missing, monkeypatch):
    missing("duckdb")
    done = llmstudy_("doctor")
    assert done.exit_code == 1
    assert re.search(r"--  duckdb +missing, needs >=1.4", done.stdout)
    monkeypatch.setattr(doctor, "version", lambda name: "0.0.1")
    assert llmstudy_("doctor").exit_code == 1


def test_doctor_gives_the_command_that_adds_the_pdf(monkeypatch):
    monkeypatch.setattr(pages, "why_no_pdf", lambda: "No PDF: `apt-get install pango`.")
    done = llmstudy_("doctor")
    assert done.exit_code == 0
    assert "apt-get install pango" in done.stdout


def test_every_extra_of_the_project_is_explained():
    project = (paths.ROOT / "pyproject.toml").read_text()
    section = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    assert set(re.findall(r"^(\w+) = \[", section, re.MULTILINE)) == set(doctor.ADDS)


def test_a_folder_on_the_path_runs_without_being_installed():
    hidden = (
        "import importlib.metadata as m; real = m.version\n"
        "def version(name):\n"
        "    if name == 'llmstudy': raise m.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "m.version = version\n"
        "import llmstudy; print(llmstudy.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True)
    assert done.stdout.strip() == "0+source", done.stderr
