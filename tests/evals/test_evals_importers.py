"""Evaluations of other tools: read as what they are, or refused with one sentence."""

import io
import json
import struct
import zlib
from pathlib import Path

import pandas as pd
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmstudy.evals.identity import item_hash
from llmstudy.evals.importers import FORMATS, imported, read_evaluation
from llmstudy.evals.table import pairs, save

FIXTURES = Path(__file__).parent / "fixtures"


def written(path, content):
    if not isinstance(content, str):
        content = json.dumps(content)
    path.write_text(content, encoding="utf-8")
    return path


def lines(records):
    return "".join(json.dumps(record) + "\n" for record in records)


# ---- inspect_ai ---------------------------------------------------------------------------------


def sample(item, value="C", epoch=1, **fields):
    return {
        "id": item,
        "epoch": epoch,
        "input": [{"id": "random", "role": "user", "content": f"question {item}"}],
        "target": "4",
        "output": {"model": "gpt-4o-2024-08-06", "time": 0.5},
        "scores": {"match": {"value": value, "answer": "4"}},
        "model_usage": {
            "openai/gpt-4o": {
                "input_tokens": 10,
                "input_tokens_cache_read": 5,
                "input_tokens_cache_write": 1,
                "output_tokens": 3,
                "reasoning_tokens": 2,
                "total_cost": 0.25,
            }
        },
        "working_time": 1.5,
        "total_time": 99.0,
    } | fields


def log(samples, model="openai/gpt-4o", **evaluation):
    evaluation = {"task": "sums", "model": model, "eval_id": "run-1", "scorers": [], **evaluation}
    return {"version": 2, "status": "success", "eval": evaluation, "samples": samples}


def archive(document, method):
    """An `.eval` archive whose members are packed by a method that zipfile may not know."""
    members = {"header.json": {key: x for key, x in document.items() if key != "samples"}}
    for each in document["samples"]:
        members[f"samples/{each['id']}_epoch_{each['epoch']}.json"] = each
    out, directory = io.BytesIO(), b""
    for name, value in members.items():
        data = json.dumps(value).encode()
        deflate = zlib.compressobj(wbits=-15)
        packed = {
            0: lambda data=data: data,
            8: lambda data=data, pack=deflate: pack.compress(data) + pack.flush(),
            93: lambda data=data: zstandard.ZstdCompressor(write_content_size=False).compress(data),
        }[method]()
        sizes = (zlib.crc32(data), len(packed), len(data), len(name))
        offset = out.tell()
        head = struct.pack("<HHHHH", 63, 0, method, 0, 0) + struct.pack("<IIIH", *sizes)
        out.write(b"PK\3\4" + head + struct.pack("<H", 0) + name.encode() + packed)
        tail = struct.pack("<HHHHHII", 0, 0, 0, 0, 0, 0, offset)[2:]
        directory += b"PK\1\2" + struct.pack("<H", 63) + head + tail + name.encode()
    place, n = out.tell(), len(members)
    out.write(directory)
    out.write(b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, n, n, len(directory), place, 0))
    return out.getvalue()


def test_inspect_counts_cached_tokens_as_input_and_waiting_as_no_latency(tmp_path):
    row = read_evaluation(written(tmp_path / "log.json", log([sample("q0")]))).iloc[0]
    assert (row["route"], row["served_model"]) == ("openai/gpt-4o", "gpt-4o-2024-08-06")
    assert (row["input_tokens"], row["cached_input_tokens"]) == (16, 5)
    assert (row["output_tokens"], row["reasoning_tokens"]) == (3, 2)
    assert (row["cost_usd"], row["latency_s"]) == (0.25, 1.5)


@pytest.mark.parametrize(
    ("value", "score", "extracted"),
    [
        ("C", 1, True),
        ("I", 0, True),
        ("P", 0.5, True),
        ("N", 0, False),
        (0.75, 0.75, True),
        (True, 1, True),
        (float("nan"), None, True),
    ],
)
def test_inspect_reads_each_kind_of_score(tmp_path, value, score, extracted):
    row = read_evaluation(written(tmp_path / "log.json", log([sample("q0", value)]))).iloc[0]
    assert row["scored"] == (score is not None)
    assert score is None or row["score"] == score
    assert row["extracted"] == extracted


def test_a_sample_that_failed_is_not_scored_and_no_wrong_answer(tmp_path):
    failed = sample("q1", scores={}, error={"message": "429", "traceback": "..."})
    table = read_evaluation(written(tmp_path / "log.json", log([sample("q0"), failed])))
    assert table["score"].mean() == 1
    assert table["scored"].tolist() == [True, False]
    assert table["error"].tolist() == [pd.NA, "429"] or table["error"][1] == "429"


def test_several_scorers_are_asked_about_and_two_are_compared(tmp_path):
    scores = {"judge": {"value": 0.5}, "match": {"value": "C"}}
    file = written(tmp_path / "log.json", log([sample("q0", scores=scores)]))
    with pytest.raises(ValueError, match="the scorers judge and match: choose one"):
        read_evaluation(file)
    row = read_evaluation(file, scorer="match").iloc[0]
    assert (row["scorer"], row["score"], row["score_2"]) == ("match", 1, 0.5)
    with pytest.raises(ValueError, match="none of that name; the file has judge and match"):
        read_evaluation(file, scorer="human")


def test_a_scorer_that_asks_the_evaluated_model_names_it_as_the_judge(tmp_path):
    scores = {"model_graded_qa": {"value": "C"}}
    row = read_evaluation(written(tmp_path / "log.json", log([sample("q0", scores=scores)])))
    assert row["judge"].tolist() == ["openai/gpt-4o"]


def test_two_logs_are_two_routes_that_pair(tmp_path):
    files = [
        written(tmp_path / "a.json", log([sample("q0"), sample("q1", "I")], "api/a")),
        written(tmp_path / "b.json", log([sample("q1"), sample("q0")], "open/b")),
    ]
    items = pairs(read_evaluation(files), "api/a", "open/b")
    assert items[["baseline", "candidate"]].to_numpy().tolist() == [[1, 1], [0, 1]]
    named = read_evaluation(files, route=["today", "candidate"])
    assert set(named["route"]) == {"today", "candidate"}


def test_two_logs_of_one_model_are_two_runs(tmp_path):
    files = [
        written(tmp_path / f"{run}.json", log([sample("q0")], eval_id=run)) for run in ("r1", "r2")
    ]
    assert read_evaluation(files)["run"].tolist() == ["r1", "r2"]
    assert read_evaluation(files[0])["run"].isna().all()


@pytest.mark.parametrize("method", [0, 8, 93], ids=["stored", "deflate", "zstd"])
def test_an_archive_reads_as_its_json_log(tmp_path, method):
    document = log([sample("q0"), sample("q0", "I", epoch=2)])
    (tmp_path / "log.eval").write_bytes(archive(document, method))
    packed = read_evaluation(tmp_path / "log.eval").drop(columns="source")
    plain = read_evaluation(written(tmp_path / "log.json", document)).drop(columns="source")
    pd.testing.assert_frame_equal(packed, plain)
    assert packed["epoch"].tolist() == [1, 2]


def test_a_damaged_archive_says_which_member(tmp_path):
    content = bytearray(archive(log([sample("q0")]), 0))
    content[content.index(b"question q0")] ^= 1
    (tmp_path / "log.eval").write_bytes(content)
    with pytest.raises(ValueError, match=r"samples/q0_epoch_1.json in the archive is damaged"):
        read_evaluation(tmp_path / "log.eval")
    (tmp_path / "log.eval").write_bytes(content[:-30])
    with pytest.raises(ValueError, match="damaged archive"):
        read_evaluation(tmp_path / "log.eval")


@pytest.mark.shared
def test_a_log_that_inspect_wrote_has_the_accuracy_that_inspect_reports(shared):
    folder = shared / "fixtures" / "eval_tools"
    reported = json.loads((folder / "inspect_log.json").read_text())["results"]["scores"][0]
    for name in ("inspect_log.json", "inspect_log.eval"):
        table = read_evaluation(folder / name)
        assert len(table) == 8
        assert table["score"].mean() == reported["metrics"]["accuracy"]["value"]
        assert table["cluster"].nunique() == 2


# ---- lm-eval ------------------------------------------------------------------------------------


def document(n, filter_, score, output="4", **fields):
    return {
        "doc_id": n,
        "doc": {"question": f"q{n}"},
        "target": "4",
        "arguments": {"gen_args_0": {"arg_0": f"q{n}", "arg_1": {}}},
        "resps": [["so 4"]],
        "filtered_resps": [output],
        "filter": filter_,
        "metrics": ["exact_match"],
        "doc_hash": f"hash{n}",
        "prompt_hash": f"prompt{n}",
        "target_hash": "four",
        "exact_match": score,
    } | fields


RESULTS = {"results": {}, "configs": {}, "model_name": "org/model", "config": {}}


def test_lm_eval_takes_one_row_for_a_document_and_its_second_filter_as_second_scorer(tmp_path):
    rows = [document(n, "strict-match", 0.0, "[invalid]") for n in range(3)]
    rows += [document(n, "flexible-extract", 1.0) for n in range(3)]
    written(tmp_path / "results_2026-11-23T10-00-00.json", RESULTS)
    file = written(tmp_path / "samples_sums_2026-11-23T10-00-00.jsonl", lines(rows))
    table = read_evaluation(file)
    assert table["route"].tolist() == ["org/model"] * 3
    assert table["score"].tolist() == [0, 0, 0]
    assert table["score_2"].tolist() == [1, 1, 1]
    assert not table["extracted"].any()
    other = read_evaluation(file, scorer="flexible-extract")
    assert other["score"].tolist() == [1, 1, 1]
    assert other["extracted"].all()


def test_lm_eval_samples_without_results_need_a_route(tmp_path):
    file = written(tmp_path / "samples_sums.jsonl", lines([document(0, "none", 1.0)]))
    with pytest.raises(ValueError, match=r"samples_sums.jsonl: no route or model is named"):
        read_evaluation(file)
    assert read_evaluation(file, route="open")["route"].tolist() == ["open"]


def test_a_document_that_a_task_has_twice_is_two_items_of_one_hash(tmp_path):
    rows = [
        document(0, "none", 1.0),
        document(1, "none", 0.0, doc={"question": "q0"}, doc_hash="hash0"),
    ]
    table = read_evaluation(written(tmp_path / "s.jsonl", lines(rows)), route="open")
    assert table["item_id"].tolist() == ["hash0", "hash0-2"]
    assert len(set(table["item_hash"])) == 1
    assert table["epoch"].tolist() == [1, 1]


def test_choices_compared_by_likelihood_have_a_chance(tmp_path):
    choice = {"arg_0": "q", "arg_1": " A"}
    row = document(
        0,
        "none",
        None,
        arguments={f"gen_args_{n}": choice for n in range(4)},
        resps=[[[-1.0, False]]] * 4,
        filtered_resps=[[-1.0, False]] * 4,
        metrics=["acc", "acc_norm"],
        acc=1.0,
        acc_norm=0.0,
    )
    file = written(tmp_path / "s.jsonl", lines([row]))
    table = read_evaluation(file, route="open", scorer="acc")
    assert table[["chance", "score", "score_2"]].to_numpy().tolist() == [[0.25, 1, 0]]


@pytest.mark.shared
def test_samples_that_lm_eval_wrote_have_the_accuracy_that_it_reports(shared):
    folder = shared / "fixtures" / "eval_tools"
    table = read_evaluation(folder / "lm_eval_samples_minigsm.jsonl")
    results = json.loads((folder / "lm_eval_results.json").read_text())
    assert len(table) == results["n-samples"]["minigsm"]["effective"]
    reported = results["results"]["minigsm"]
    assert table["score"].mean() == reported["exact_match,strict-match"]
    assert table["score_2"].mean() == reported["exact_match,flexible-extract"]
    assert set(table["route"]) == {results["model_name"]}


# ---- promptfoo ----------------------------------------------------------------------------------


def promptfoo_row(test, label, score, components=None, **fields):
    components = components or [
        {"pass": score == 1, "score": score, "assertion": {"type": "equals", "value": "4"}},
        {"pass": False, "score": 0, "assertion": {"type": "latency", "threshold": 5}},
    ]
    return {
        "testIdx": test,
        "promptIdx": 0,
        "promptId": "p",
        "provider": {"id": f"python:{label}.py", "label": label},
        "vars": {"q": test},
        "success": False,
        "score": score / 2,
        "namedScores": {},
        "gradingResult": {"componentResults": components},
        "failureReason": 0,
        "latencyMs": 250,
        "response": {"output": "4", "cached": False, "cost": 0.001},
        "tokenUsage": {
            "prompt": 10,
            "completion": 2,
            "completionDetails": {"reasoning": 0, "cacheReadInputTokens": 0},
            "assertions": {"total": 500},
        },
    } | fields


def test_promptfoo_counts_a_slow_right_answer_as_right(tmp_path):
    file = written(
        tmp_path / "o.json", {"results": {"version": 3, "results": [promptfoo_row(0, "a", 1)]}}
    )
    row = read_evaluation(file).iloc[0]
    assert (row["route"], row["score"], row["latency_s"]) == ("a", 1, 0.25)
    assert (row["input_tokens"], row["output_tokens"]) == (10, 2)  # without the judge's 500
    assert pd.isna(row["cached_input_tokens"])


def test_promptfoo_failures_are_not_scored_and_cached_answers_have_no_latency(tmp_path):
    broken = [{"score": 0, "assertion": {"type": "llm-rubric"}, "metadata": {"graderError": True}}]
    rows = [
        promptfoo_row(0, "a", 1, response={"output": "4", "cached": True}),
        promptfoo_row(1, "a", 0, failureReason=2, error="timed out", gradingResult=None),
        promptfoo_row(2, "a", 0, broken),
        promptfoo_row(3, "a", 0, failureReason=1, error="Expected 4"),
    ]
    table = read_evaluation(written(tmp_path / "o.jsonl", lines(rows)))
    assert table["scored"].tolist() == [True, False, False, True]
    assert table["error"].fillna("").tolist() == ["", "timed out", "the grader failed", ""]
    assert table["latency_s"].notna().tolist() == [False, False, True, True]
    assert table["judge"].notna().tolist() == [False, False, True, False]


def test_promptfoo_repeats_are_epochs_and_a_failed_one_stays_apart(tmp_path):
    rows = [
        promptfoo_row(0, "a", 0, failureReason=2, error="timed out", gradingResult=None),
        promptfoo_row(0, "a", 1),
        promptfoo_row(0, "a", 1),
    ]
    table = read_evaluation(written(tmp_path / "o.jsonl", lines(rows)))
    assert table["epoch"].tolist() == [1, 2, 3]
    assert table["scored"].tolist() == [False, True, True]


def test_promptfoo_weighs_its_assertions_as_it_does(tmp_path):
    components = [
        {"score": 1, "assertion": {"type": "contains", "weight": 3}},
        {"score": 0, "assertion": {"type": "equals"}},
        {"score": 0, "assertion": {"type": "cost"}},
    ]
    table = read_evaluation(
        written(tmp_path / "o.jsonl", lines([promptfoo_row(0, "a", 1, components)]))
    )
    assert table["score"].tolist() == [0.75]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["promptfoo_output.json", "promptfoo_output.jsonl"])
def test_an_output_that_promptfoo_wrote_has_the_named_scores(shared, name):
    table = read_evaluation(shared / "fixtures" / "eval_tools" / name)
    means = table.groupby("route")["score"].mean()
    assert means.to_dict() == {"open": 0.5, "prop": 1.0}
    assert set(table["scorer"]) == {"correct"}
    assert pairs(table, "prop", "open")["baseline_usd"].tolist() == [0.0001, 0.0001]


# ---- MLflow and Langfuse ------------------------------------------------------------------------


def test_a_table_of_mlflow_2_has_the_scores_of_the_metric_that_is_chosen(tmp_path):
    file = FIXTURES / "mlflow_2.22.5_eval_results_table.json"
    with pytest.raises(ValueError, match="the scorers answer_similarity and exact_match"):
        read_evaluation(file, route="open")
    table = read_evaluation(file, route="open", scorer="answer_similarity", scale=5)
    assert table["scored"].tolist() == [True, True, False]
    assert table["score"].tolist()[:2] == [1, 0.8]
    assert table["latency_s"].round(2).tolist() == [0.21, 0.2, 0.22]
    top = json.loads(file.read_text())
    csv = tmp_path / "table.csv"
    pd.DataFrame(top["data"], columns=top["columns"]).to_csv(csv, index=False)
    again = read_evaluation(csv, route="open", scorer="answer_similarity", scale=5)
    pd.testing.assert_frame_equal(table.drop(columns="source"), again.drop(columns="source"))


def test_a_table_of_mlflow_3_has_its_judge_its_failures_and_no_expectation_as_a_score(tmp_path):
    file = FIXTURES / "mlflow_3.17.2_eval_results.json"
    table = read_evaluation(file, route="open")
    assert set(table["scorer"]) == {"correctness"}
    assert table["scored"].tolist() == [True, True, False, True]
    assert table["score"].tolist()[:2] == [1, 1]
    assert table["error"].tolist()[2] == "the judge did not answer"
    assert table["judge"].tolist()[0] == "openai:/gpt-4o"
    assert table["latency_s"].tolist() == [0.061, 0.023, 0.022, 0.087]
    assert table["item_hash"].tolist()[0] == item_hash("What is 2+2?", 4)
    by_code = read_evaluation(file, route="open", scorer="exact_match")
    assert by_code["score"].tolist() == [1, 0, 1, 0]
    # as pandas writes it, with the text of Python's lists and objects
    top = json.loads(file.read_text())
    csv = tmp_path / "table.csv"
    pd.DataFrame(top["data"], columns=top["columns"]).to_csv(csv, index=False)
    again = read_evaluation(csv, route="open")
    pd.testing.assert_frame_equal(table.drop(columns="source"), again.drop(columns="source"))
    short = pd.DataFrame(top["data"], columns=top["columns"]).drop(columns="assessments")
    with pytest.raises(ValueError, match="the scorers correctness and exact_match: choose"):
        read_evaluation(short, route="open")


def test_langfuse_scores_join_their_items_models_and_tokens():
    table = read_evaluation(
        [
            FIXTURES / f"langfuse_{name}"
            for name in ("scores.jsonl", "observations.jsonl", "dataset_run_items.json")
        ],
        scorer=["correct (eval)", "correct (annotation)"],
    )
    assert set(table["route"]) == {"gpt-4o-2024-08-06", "llama-3.1-70b"}
    assert sorted(set(table["item_id"])) == ["item-0", "item-1", "item-2"]
    one = table[table["item_id"] == "item-1"].iloc[0]
    assert (one["score"], one["score_2"]) == (0, 1)
    assert (one["input_tokens"], one["cached_input_tokens"], one["output_tokens"]) == (120, 20, 8)
    assert (one["latency_s"], one["cost_usd"]) == (1.5, 0.0004)
    assert len(pairs(table, "gpt-4o-2024-08-06", "llama-3.1-70b")) == 3


def test_langfuse_exports_read_alike_as_csv_and_with_traces_of_the_api(tmp_path):
    names = ("scores", "observations")
    plain = [FIXTURES / f"langfuse_{name}.jsonl" for name in names]
    csv = []
    for file in plain:
        rows = pd.DataFrame(map(json.loads, file.read_text().splitlines()))
        if "usage_details" in rows:
            rows["usage_details"] = rows["usage_details"].map(json.dumps)
        rows.to_csv(tmp_path / f"{file.stem}.csv", index=False)
        csv.append(tmp_path / f"{file.stem}.csv")
    scorer = ["correct (eval)", "correct (annotation)"]
    one, two = (read_evaluation(files, scorer=scorer) for files in (plain, csv))
    pd.testing.assert_frame_equal(one.drop(columns="source"), two.drop(columns="source"))
    assert len(pairs(one, "gpt-4o-2024-08-06", "llama-3.1-70b")) == 3  # by the hash of the prompt
    traces = [
        {
            "id": f"{model}-{n}",
            "timestamp": "2026-11-20",
            "bookmarked": False,
            "public": False,
            "metadata": {"item_id": f"own-{n}"},
        }
        for model in ("gpt-4o-2024-08-06", "llama-3.1-70b")
        for n in range(3)
    ]
    api = written(tmp_path / "traces.json", {"data": traces, "meta": {"page": 1}})
    named = read_evaluation([*plain, api], scorer=scorer)
    assert set(named["item_id"]) == {"own-0", "own-1", "own-2"}


def test_langfuse_scores_of_the_api_s_version_3_read_as_those_of_version_2(tmp_path):
    scorer = ["correct (eval)", "correct (annotation)"]
    others = [
        FIXTURES / "langfuse_observations.jsonl",
        FIXTURES / "langfuse_dataset_run_items.json",
    ]
    third = FIXTURES / "langfuse_5.2.0_scores_v3.json"
    two = read_evaluation([FIXTURES / "langfuse_scores.jsonl", *others], scorer=scorer)
    three = read_evaluation([third, *others], scorer=scorer)
    pd.testing.assert_frame_equal(two.drop(columns="source"), three.drop(columns="source"))
    document = json.loads(third.read_text())
    for score in document["data"]:
        trace = score["subject"]["id"]
        score["subject"] = {"kind": "observation", "id": f"g{trace}", "traceId": trace}
    of_calls = written(tmp_path / "scores.json", document)
    again = read_evaluation([of_calls, *others], scorer=scorer)
    pd.testing.assert_frame_equal(three.drop(columns="source"), again.drop(columns="source"))
    for score in document["data"]:
        del score["subject"]
    with pytest.raises(ValueError, match="with `fields=subject`"):
        read_evaluation([written(tmp_path / "scores.json", document), *others])


def test_langfuse_scores_alone_say_what_else_to_give():
    with pytest.raises(ValueError, match="give the export of the traces"):
        read_evaluation(FIXTURES / "langfuse_scores.jsonl", route="api")


# ---- tables -------------------------------------------------------------------------------------

LONG = "Item,Model,Correct,latency_ms,note\nq1,api,TRUE,1500,x\nq1,open,false,20,y\n"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_long_table_is_read_by_the_usual_names(tmp_path, delimiter):
    file = written(tmp_path / "t.csv", LONG.replace(",", delimiter))
    read = imported(file)
    assert read.table[["item_id", "route", "score", "latency_s"]].to_numpy().tolist() == [
        ["q1", "api", 1, 1.5],
        ["q1", "open", 0, 0.02],
    ]
    assert read.unused == ["note"]


def test_a_wide_table_has_a_route_for_each_column_of_scores(tmp_path):
    csv = "prompt,gpt-4,mixtral,gpt-4_response\nq1,True,False,a b\nq1,True,True,c\nq2,,True,d\n"
    table = read_evaluation(written(tmp_path / "t.csv", csv))
    assert len(table) == 6
    assert table.groupby("route")["score"].mean().to_dict() == {"gpt-4": 1, "mixtral": 2 / 3}
    assert table["item_hash"].nunique() == 2  # q1 is there twice, as two items
    assert table["scored"].sum() == 5


def test_an_index_and_the_reference_answers_are_no_routes(tmp_path):
    csv = ",question,target,api,open\n0,1+1,2,1,1\n1,0+1,1,0,1\n"
    read = imported(written(tmp_path / "t.csv", csv))
    assert set(read.table["route"]) == {"api", "open"}
    assert read.unused == []


@pytest.mark.parametrize(
    ("csv", "message"),
    [
        ("item_id,route,score\na,x,85\n", "scores of x run from 85 to 85, not 0 to 1: declare"),
        ("item_id,route,score\na,x,P\n", "'P' may be a pass or partly right: write 1 or 0.5"),
        ("item_id,route,score\na,x,good\n", "item a: score 'good' is not a number"),
        ("item_id,route,score\na,x,inf\n", "not finite"),
        ("item_id;route;score\na;x;0,5\n", "'0,5' is not a number"),
        ("item_id,score\na,1\n", "no route or model is named"),
        ("item_id,route,correct,grade\na,x,1,0\n", "correct and grade may each be the score"),
        ("item_id,route,score,score\na,x,1,0\n", "two columns of the same name"),
        ("item_id,route,score\na,x\n", "line 2 has 2 fields, the header 3"),
        ("item_id,route,score\n", "a header and no rows"),
        ("name,price\na,x\n", "nor a table with item_id, route and score"),
        ('item_id,route,score\n"a,x,1\n', "not CSV"),
    ],
)
def test_what_a_table_leaves_open_is_asked_about(tmp_path, csv, message):
    with pytest.raises(ValueError, match=message) as error:
        read_evaluation(written(tmp_path / "t.csv", csv))
    assert "\n" not in str(error.value)


def test_percent_and_grades_are_read_as_declared(tmp_path):
    file = written(tmp_path / "t.csv", "item_id,route,score\na,x,85\nb,x,100\n")
    assert read_evaluation(file, scale=100)["score"].tolist() == [0.85, 1]
    assert read_evaluation(file, scale=1)["score"].tolist() == [85, 100]
    sign = written(tmp_path / "s.csv", "item_id,route,score\na,x,85%\nb,x,100 %\n")
    assert read_evaluation(sign)["score"].tolist() == [0.85, 1]


def test_routes_are_chosen_by_name():
    rows = pd.DataFrame(
        {"item_id": ["a", "b"], "api": [1, 0], "open": [0, 1], "difficulty": [1, 5]}
    )
    with pytest.raises(ValueError, match="scores of difficulty run from 0 to 5"):
        read_evaluation(rows)
    table = read_evaluation(rows, route=["api", "open"])
    assert set(table["route"]) == {"api", "open"}
    assert table["score"].max() == 1


def test_rows_of_several_scorers_become_answers_of_one():
    rows = pd.DataFrame(
        {
            "item_id": ["a", "a", "b", "b"],
            "route": "api",
            "scorer": ["judge", "human"] * 2,
            "score": [1, 0, 1, 1],
        }
    )
    table = read_evaluation(rows, scorer=["human", "judge"])
    assert table["score"].tolist() == [0, 1]
    assert table["score_2"].tolist() == [1, 1]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_written_evaluation_reads_back_as_it_was(tmp_path, suffix):
    scored = sample("naïve \u2028 id", 1 / 3)
    failed = sample("q1", scores={}, error={"message": "429"})
    table = read_evaluation(written(tmp_path / "log.json", log([scored, failed])))
    file = save(table, tmp_path / "new" / f"evaluation.{suffix}")
    pd.testing.assert_frame_equal(read_evaluation(file), table)
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def test_a_written_evaluation_is_jsonl_or_parquet(tmp_path):
    table = read_evaluation(pd.DataFrame({"item_id": ["a"], "route": "x", "score": [1]}))
    with pytest.raises(ValueError, match=r"name it .jsonl or .parquet"):
        save(table, tmp_path / "evaluation.csv")


# ---- any value anywhere -------------------------------------------------------------------------

ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["C", "P", "nan", "1e999", "85%", "\ud800", 10**400]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)

DOCUMENTS = {
    "inspect": log([sample("q0"), sample("q1")]),
    "lm_eval": [document(0, "a", 1.0), document(0, "b", 0.0)],
    "promptfoo": {
        "results": {"version": 3, "results": [promptfoo_row(0, "a", 1), promptfoo_row(1, "a", 0)]}
    },
    "mlflow": json.loads((FIXTURES / "mlflow_2.22.5_eval_results_table.json").read_text()),
    "mlflow 3": json.loads((FIXTURES / "mlflow_3.17.2_eval_results.json").read_text()),
    "langfuse": [
        json.loads(line)
        for name in ("scores", "observations")
        for line in (FIXTURES / f"langfuse_{name}.jsonl").read_text().splitlines()
    ][:9],
    "table": [
        {
            "item_id": 1,
            "route": "a",
            "score": 1,
            "scored": True,
            "epoch": 1,
            "chance": 0.25,
            "extracted": True,
            "score_2": 0,
            "output_tokens": 4,
            "latency_ms": 3,
            "error": None,
        }
    ],
}


def places(value, at=()):
    """The paths to all that is within a document."""
    inner = enumerate(value) if isinstance(value, list) else ()
    for key, each in value.items() if isinstance(value, dict) else inner:
        yield (*at, key)
        yield from places(each, (*at, key))


def changed(value, path, new):
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = changed(copy[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("name", DOCUMENTS)
@given(data=st.data())
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_value_in_any_field_is_read_or_refused_with_a_sentence(tmp_path, name, data):
    where = data.draw(st.sampled_from(list(places(DOCUMENTS[name]))))
    file = written(tmp_path / "any.json", changed(DOCUMENTS[name], where, data.draw(ANY)))
    table, refusal = read_or_refused(file)
    if table is None:
        assert "\n" not in refusal
        assert len(refusal) > 20
    else:
        save(table, tmp_path / "any.parquet")
        assert table["score"].dropna().between(0, 1).all()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_file_read_as_another_format_is_read_or_refused(tmp_path, name, format):
    table, refusal = read_or_refused(written(tmp_path / "f.json", DOCUMENTS[name]), format)
    assert (table is None) == (refusal is not None)
    assert refusal is None or "\n" not in refusal


@given(
    begin=st.sampled_from([b"", b"PK", b"PAR1", b"{", b"[", b"\xff\xfe", b"item_id,route,score\n"]),
    rest=st.binary(max_size=30) | st.text(max_size=20).map(str.encode),
)
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes_are_read_or_refused_with_a_sentence(tmp_path, begin, rest):
    (tmp_path / "any").write_bytes(begin + rest)
    _, refusal = read_or_refused(tmp_path / "any")
    assert refusal is None or ("\n" not in refusal.replace(str(tmp_path), "") and len(refusal) > 20)


def read_or_refused(file, format="auto"):
    """The table, or the sentence that refuses it."""
    try:
        return read_evaluation(file, format, route="r"), None
    except ValueError as error:
        return None, str(error)
