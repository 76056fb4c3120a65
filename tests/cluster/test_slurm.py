"""A sweep's Slurm script, what is requested from Slurm, and what is refused before that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from launch import main
from raysweep.cli.group import cli
from raysweep.cluster.attach import NODES, promised_nodes
from raysweep.cluster.errors import ClusterError
from raysweep.cluster.slurm import SlurmJob, SlurmRequest, job_script, time_limit_s, unshared_storage
from raysweep.study.storage.layout import StudyFolder
from tests.test_launch import SWEEP

JOB = SlurmJob(
    study=Path("/shared/my runs/digits"),
    begin=("run", "/home/ann/digits.yaml", "--set", "trials=4"),
    resume=(),
    python=Path("/opt/venv/bin/python"),
    launch=Path("/opt/raysweep/launch.py"),
    cwd=Path("/home/ann"),
)


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    path = Path("tiny.yaml")
    path.write_text(SWEEP)
    return path


def slurm_that(says: str, code: int = 0) -> None:
    """This test's own `sbatch`, first on the PATH."""
    Path("bin").mkdir()
    file = Path("bin/sbatch")
    file.write_text(f'#!/bin/sh\necho "$@" > asked\n{says}\nexit {code}\n')
    file.chmod(0o755)


def launched(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args), standalone_mode=False)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("5:30", 330),
        ("4:00:00", 14400),
        ("1-0", 86400),
        ("1-12", 129600),
        ("2-1:30", 178200),
        ("0-0:10:05", 605),
        ("infinite", float("inf")),
    ],
)
def test_a_time_limit_is_read_as_slurm_reads_it(text: str, seconds: float) -> None:
    assert time_limit_s(text) == seconds


@pytest.mark.parametrize("text", ["", "2h", "1:2:3:4", "-5", "1-", "1-2:3:4:5", "4.5"])
def test_another_time_is_refused_with_the_forms_there_are(text: str) -> None:
    with pytest.raises(ClusterError, match="not a Slurm time; write MINUTES, HOURS:MINUTES:SECONDS or"):
        SlurmRequest(time=text)


def test_a_time_that_the_end_takes_whole_is_refused() -> None:
    with pytest.raises(
        ClusterError, match=r"--time 2: too short: its last 120 s .* ask for 3 minutes or more"
    ):
        SlurmRequest(time="2")


@pytest.mark.parametrize("option", ["account=x", "", "--a\nrm -rf x"])
def test_other_than_options_of_sbatch_are_refused(option: str) -> None:
    with pytest.raises(ClusterError, match="not an option of sbatch"):
        SlurmRequest(sbatch=(option,))


@pytest.mark.parametrize(
    ("request_", "wanted", "unwanted"),
    [
        (
            SlurmRequest(),
            ["--nodes=1", "--exclusive", "--mem=0", "--signal=B:TERM@120"],
            ["--time", "--part"],
        ),
        (SlurmRequest(nodes=3, time="4:00:00"), ["--nodes=3", "--time=4:00:00"], []),
        (SlurmRequest(cpus=8), ["--cpus-per-task=8"], ["--exclusive", "--mem", "--gpus"]),
        (SlurmRequest(gpus=2, partition="a100"), ["--gpus-per-node=2", "--partition=a100"], ["--exclusive"]),
        (SlurmRequest(sbatch=("--account=lab",), grace_s=600), ["--account=lab", "--signal=B:TERM@600"], []),
    ],
)
def test_what_is_requested_from_slurm(request_: SlurmRequest, wanted: list[str], unwanted: list[str]) -> None:
    asked = [line.removeprefix("#SBATCH ") for line in job_script(JOB, request_).splitlines()]
    assert [each for each in wanted if each not in asked] == []
    options = [line for line in asked if line.startswith("--")]
    assert [each for each in unwanted if any(option.startswith(each) for option in options)] == []


def test_the_script_is_sound_bash_whatever_its_paths_hold(tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text(job_script(JOB, SlurmRequest()))
    assert subprocess.run(["bash", "-n", tmp_path / "job.sh"], capture_output=True, text=True).stderr == ""
    names = "\n".join(job_script(JOB, SlurmRequest()).split("\n\n")[0].splitlines())
    shown = subprocess.run(
        ["bash", "-c", f'{names}\nprintf "%s\\n" "$study" "${{begin[-1]}}" "${{resume[@]}}"'],
        capture_output=True,
        text=True,
    )
    assert shown.stdout.splitlines() == [
        "/shared/my runs/digits",
        "trials=4",
        *("resume", "/shared/my runs/digits", "--trust"),
    ]


def test_a_submitted_sweep_is_made_at_once_and_one_line_says_how_to_go_on(sweep: Path) -> None:
    slurm_that("echo '17;cluster'")
    done = launched("tiny.yaml", "--slurm", "--nodes", "2")
    assert done.return_value == 0, done.output
    assert done.stdout == "17\n"
    line = done.stderr.splitlines()[-1]
    assert line.startswith("tiny: Slurm job 17, log runs/tiny.slurm/17.log; follow it: `tail -F runs/tiny")
    assert line.endswith("end it in good order: `scancel --batch --signal=INT 17`")
    assert Path("asked").read_text().split() == ["--parsable", str(Path("runs/tiny.slurm/job.sh").absolute())]
    assert StudyFolder.open(Path("runs/tiny")).sweep().trials == 3
    script = Path("runs/tiny.slurm/job.sh").read_text()
    assert "#SBATCH --nodes=2\n" in script
    assert f"python={sys.executable}\n" in script


def test_what_is_measured_on_the_nodes_is_made_by_the_job(sweep: Path) -> None:
    slurm_that("echo 17")
    done = launched("tiny.yaml", "--slurm", "--set", "resources_per_trial=auto")
    assert done.return_value == 0, done.output
    assert "read when the job begins" in done.stderr
    assert not Path("runs/tiny").exists()
    script = Path("runs/tiny.slurm/job.sh").read_text()
    assert f"begin=(run {sweep.absolute()} --set resources_per_trial=auto --name tiny --runs " in script


def test_a_dry_run_prints_the_script_and_makes_nothing(sweep: Path) -> None:
    done = launched("tiny.yaml", "--slurm", "--no-preflight", "--dry-run")
    assert done.stdout.startswith("#!/bin/bash\n# The sweep tiny as a Slurm job")
    assert f"resume=(resume {Path('runs/tiny').absolute()} --trust --no-preflight)\n" in done.stdout
    assert not Path("runs").exists()


def test_a_study_is_resumed_by_a_job(sweep: Path) -> None:
    slurm_that("echo 18")
    launched("tiny.yaml", "--slurm")
    done = launched("resume", "tiny", "--slurm", "--time", "1-0")
    assert (done.return_value, done.stdout) == (0, "18\n"), done.output
    assert "#SBATCH --time=1-0\n" in Path("runs/tiny.slurm/job.sh").read_text()


def test_a_study_is_extended_by_a_job(sweep: Path) -> None:
    slurm_that("echo 18")
    launched("tiny.yaml", "--slurm")
    Path("runs/tiny.slurm/job.sh").unlink()
    done = launched("extend", "tiny", "--trials", "+2", "--slurm")
    assert (done.return_value, done.stdout.splitlines()[-1]) == (0, "18"), done.output
    assert "begin=(resume " in Path("runs/tiny.slurm/job.sh").read_text()


def test_without_slurm_nothing_is_extended(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm_that("echo 18")
    launched("tiny.yaml", "--slurm")
    monkeypatch.setenv("PATH", "")
    done = launched("extend", "tiny", "--trials", "+2", "--slurm")
    assert isinstance(done.exception, ClusterError)
    assert StudyFolder(Path("runs/tiny")).revisions() == []


@pytest.mark.parametrize(
    ("args", "code", "line"),
    [
        (
            ["--slurm"],
            6,
            "--slurm: there is no `sbatch` on this machine; run this on a login node of the cluster",
        ),
        (["--nodes", "2"], 2, "launch.py: --nodes is an option of --slurm; add that"),
        (["--slurm", "--local"], 2, "launch.py: --slurm and --local contradict each other; give one"),
        (["--slurm", "--time", "soon"], 6, "--time 'soon': not a Slurm time; write MINUTES, "),
    ],
)
def test_what_cannot_be_submitted_is_one_line_and_leaves_nothing(
    sweep: Path,
    args: list[str],
    code: int,
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["tiny.yaml", *args]) == code
    assert capsys.readouterr().err.splitlines()[-1].startswith(line)
    assert not Path("runs").exists()


def test_what_slurm_refuses_leaves_no_study(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slurm_that("echo 'sbatch: error: invalid partition specified: x' >&2", 1)
    assert main(["tiny.yaml", "--slurm"]) == 6
    assert "Slurm refused the job: error: invalid partition specified: x\n" in capsys.readouterr().err
    assert not Path("runs/tiny").exists()


def test_a_folder_on_a_disk_of_one_machine_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "findmnt").write_text('#!/bin/sh\necho "$TYPE"\n')
    (tmp_path / "findmnt").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    warnings = {}
    for kind in ("ext4", "tmpfs", "nfs4", "lustre", ""):
        monkeypatch.setenv("TYPE", kind)
        warnings[kind] = unshared_storage(tmp_path / "runs/not/there")
    assert (
        f"{tmp_path}/runs/not/there is on ext4, which looks like a disk of this machine" in warnings["ext4"]
    )
    assert [kind for kind, text in warnings.items() if text] == ["ext4", "tmpfs"]


def test_a_job_promises_its_nodes_whatever_a_cluster_file_says() -> None:
    config = {"provider": {"type": "local", "worker_ips": ["a", "b"]}}
    assert promised_nodes(config, {}) == 3
    assert promised_nodes(config, {NODES: "2"}) == 2
    assert promised_nodes({}, {}) == 0
