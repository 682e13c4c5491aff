"""What tests of the memo share: the facts of the reference run, and its memo."""

import pytest

from llmstudy import paths
from llmstudy.memo.context import BEFORE_MEMO, facts_of
from llmstudy.study import load
from tests.memo.shared import COURSES, page_of


@pytest.fixture(scope="session")
def facts(reference):
    """The default study and what the chapters before the memo wrote of it."""
    chapters = {name: reference[name] for name in BEFORE_MEMO}
    return facts_of(load(paths.params("default.yaml")), chapters)


@pytest.fixture(scope="session", params=COURSES)
def course(request, facts):
    """A kind of course, and facts that lead to it."""
    return request.param, COURSES[request.param](facts)


@pytest.fixture(scope="session")
def page(facts):
    """The reference run's memo, without its charts."""
    return page_of(facts)
