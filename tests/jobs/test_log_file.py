import pytest

from forecast.jobs.context import LOG
from forecast.jobs.folders import end_of_log
from forecast.jobs.log_file import JobLog, told
from forecast.jobs.log_tail import LogTail


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ('  File "/srv/app/lib/python/torch/nn.py", line 3', '  File "…/nn.py", line 3'),
        ("/opt/app/models/lstm/.draft-1: not found", "…/.draft-1: not found"),
        ("see https://example.org/a/b/c", "see https://example.org/a/b/c"),
        ("loss 3/4, 12 steps/s", "loss 3/4, 12 steps/s"),
        ("begin: fit 2020-12-31", "begin: fit 2020-12-31"),
    ],
)
def test_callers_see_no_folders_of_this_machine(tmp_path, printed, shown):
    assert told(printed) == shown
    tail = LogTail(tmp_path)
    JobLog(tmp_path / LOG).line(printed)
    assert tail.lines() == [shown.strip()]
    assert end_of_log(tmp_path, 1000) == f"{shown}\n"
    assert (tmp_path / LOG).read_text() == f"{printed}\n"  # for the operator
