"""What tests of the memo share: the memo made of facts, and facts that lead to other memos."""

from copy import deepcopy

from llmstudy import io
from llmstudy.memo.content import memo_tables
from llmstudy.memo.context import Facts
from llmstudy.memo.document import parts, provenance

LEAD = "extraction"
MADE = {
    "command": "llmstudy run params/default.yaml",
    "seed": 1,
    "package": "1.0",
    "python": "3.12",
    "git_sha": "0123456789abcdef",
    "git_dirty": True,
    "study_sha256": "a" * 64,
    "lock_sha256": None,
    "data_sha256": {"risks.csv": "b" * 64},
}


def finished(facts):
    """The facts with the memo's own chapter, as a run keeps it."""
    return facts.with_results("08_memo", io.plain(memo_tables(facts)))


def page_of(facts):
    """The memo of facts, without its charts."""
    pieces = [piece for what, piece in parts(finished(facts)) if what == "html"]
    return "<main>" + "".join(pieces) + provenance(MADE) + "</main>"


def copied(facts, **study):
    """Facts of one's own to change; study: what is different in the study."""
    return Facts(facts.study.model_copy(update=study), deepcopy(dict(facts.chapters)))


def barred(facts):
    """The lead workload's data may go nowhere without a contract."""
    other = copied(facts)
    sentence = "openai-gpt-4o: sign a DPA"
    ask = {"what": "contract", "n": None, "usd": None, "sentence": sentence}
    no_route = {"decision": "undecided", "route": None, "target": None, "collect": [ask]}
    other.verdicts[LEAD].update(no_route)
    for row in other.rows("06_crossover", "permissions", workload=LEAD):
        row |= {"permitted": False, "missing": ["dpa"], "self_hosting": False}
    return other


def move(facts):
    """The lead workload's move is proven and pays."""
    other = copied(facts)
    verdict = other.verdicts[LEAD]
    verdict |= {"decision": "move", "route": verdict["target"], "collect": []}
    verdict["arm"] = facts.study.routes[verdict["target"]].arm
    other.decided["saving"] = {"p10": 3e5, "p50": 6e5, "p90": 9e5, "p_positive": 1.0}
    (row,) = [row for row in other.decided["options"] if row["option"] == "verdict"]
    row |= {"workloads_moved": [LEAD], "cost_usd": {"p10": 8e5, "p50": 12e5, "p90": 18e5}}
    return other


def forced(facts):
    """The lead workload must move: today's route may not see its data."""
    other = move(facts)
    today = facts.study.workloads[LEAD].current_route
    reason = {"code": "privacy", "route": today, "sentence": f"{today}: no contract"}
    other.verdicts[LEAD]["reasons"].insert(0, reason)
    (row,) = other.rows("06_crossover", "permissions", workload=LEAD, current=True)
    row |= {"permitted": False, "permission_reason": "phi data need a BAA in force"}
    return other


def stay(facts):
    """No move pays."""
    other = copied(facts)
    for verdict in other.verdicts.values():
        verdict |= {"decision": "stay", "target": None, "collect": []}
    other.decided["at_stake"] = None
    other.decided["options"] = [r for r in other.decided["options"] if r["option"] != "plan"]
    return other


def answer(facts):
    """No move pays as far as is known: intake questions are open."""
    other = stay(facts)
    other.chapters["01_evidence"]["unknown"] = [f"workloads.{LEAD}.intake.requests"]
    return other


def unmet(facts):
    """The model of the lead workload's route of today retires, and no other can take its place."""
    other = stay(facts)
    today = facts.study.workloads[LEAD].current_route
    sentence = f"{today}: its model retires on 2027-06-30; choose its successor and score it"
    ask = {"what": "successor", "n": None, "usd": None, "sentence": sentence}
    other.verdicts[LEAD].update({"decision": "undecided", "collect": [ask]})
    return other


COURSES = {
    "barred": barred,
    "forced": forced,
    "move": move,
    "evaluate": copied,
    "unmet": unmet,
    "answer": answer,
    "stay": stay,
}
"""By kind of course: makes facts that lead to it, of those of the default study."""
