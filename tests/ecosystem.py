"""Plugin of ``make test-ecosystem``, where every library is installed: a skip is a failure."""

import pytest


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a session that skipped something, and would have passed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if skipped and exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"{len(skipped)} skipped: a library is missing (see -rs)", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
