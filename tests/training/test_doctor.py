"""The doctor judges environments that are described to it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from training import doctor
from training.doctor import PACKAGES, ROWS, diagnose
from training.doctor_facts import Facts, ImportCheck, normalised
from training.doctor_report import WIDTH, render

ROOT = Path(__file__).resolve().parents[2]


def environment(build="cpu", without=(), gpus=(), broken=None, requirements=None, **versions):
    """A sound environment of the newest row, but for what is said; `fbgemm_gpu="1.9.0"` sets a version."""
    row, other = ROWS[0], {"cpu": "-gpu", "gpu": "-cpu"}[build]
    have = {normalised(name): "1.0" for name in PACKAGES if not name.endswith(other)}
    have |= {"torch": row.torch, "torchrec": row.torchrec}
    have |= {"fbgemm-gpu-cpu": row.fbgemm, "fbgemm-gpu": "1.8.0+cpu"} if build == "cpu" else {"fbgemm-gpu": row.fbgemm}
    have |= {normalised(name): version for name, version in versions.items()}
    have = {name: version for name, version in have.items() if name not in without}
    modules = dict.fromkeys(module for name, module in PACKAGES.items() if normalised(name) in have)
    checks = {module: ImportCheck(0.1, (broken or {}).get(module, "")) for module in modules}
    return Facts(
        python="3.11.7",
        versions=have,
        requirements=requirements or {"torch": ">=2.11,<2.14"},
        stand_in=have.get("fbgemm-gpu", "").endswith("+cpu"),
        imports=checks,
        gpus=gpus,
        threads=2,
        ram_gib=8.0,
    )


def codes(findings):
    return [finding.code for finding in findings]


def only(report):
    """The one problem there is."""
    assert len(report.problems) == 1, report.problems
    return report.problems[0]


def test_sound_cpu_environment_is_healthy():
    report = diagnose(environment())
    assert report.healthy and report.build == "cpu" and report.row == ROWS[0] and not report.notes
    stand_in = next(line for line in report.packages if line.name == "fbgemm-gpu")
    assert stand_in.state.startswith("empty stand-in: ") and "fbgemm-gpu-cpu" in stand_in.state


def test_sound_gpu_environment_is_healthy():
    report = diagnose(environment("gpu", gpus=("H200",)))
    assert report.healthy and report.build == "gpu" and not report.notes


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.torch)
def test_every_row_is_recognised_with_any_patch_and_build_label(row):
    versions = {"torch": row.torch[:-1] + "9+cu130", "torchrec": row.torchrec, "fbgemm-gpu-cpu": row.fbgemm}
    report = diagnose(environment(**versions))
    assert report.healthy and report.row == row
    assert codes(report.notes) == ([] if row.constraints else ["untried"])


def test_mismatched_fbgemm_is_brought_to_the_row_of_torch():
    problem = only(diagnose(environment(fbgemm_gpu_cpu="1.9.0")))
    assert problem.code == "mismatch" and "fbgemm-gpu-cpu 1.9.0" in problem.what
    assert problem.fix.endswith("-m pip install --no-deps fbgemm-gpu-cpu==1.8.0")


def test_both_partners_of_another_row_are_mended_by_one_command():
    problem = only(diagnose(environment(torch="2.11.0")))
    assert problem.fix.endswith("--no-deps torchrec==1.6.1 fbgemm-gpu-cpu==1.6.0")


def test_torch_of_no_row_is_replaced_with_all_its_partners():
    problem = only(diagnose(environment(torch="2.15.0")))
    assert problem.code == "torch" and "2.13, 2.12, 2.11" in problem.what
    assert f"-c {ROWS[0].constraints}" in problem.fix and "fbgemm-gpu-cpu==1.8.0" in problem.fix


def test_without_torch_its_absence_is_the_only_problem():
    missing = "ModuleNotFoundError: No module named 'torch'"
    facts = environment(
        without=("torch",), broken=dict.fromkeys(("fbgemm_gpu", "torchrec", "pytorch_lightning"), missing)
    )
    problem = only(diagnose(facts))
    assert problem.code == "missing" and "torch." in problem.what and "-e '.[cpu]'" in problem.fix


def test_empty_environment_names_the_build_for_the_machine():
    empty = Facts(python="3.11.7", versions={})
    assert "fbgemm-gpu-cpu" in only(diagnose(empty)).what
    on_gpu = only(diagnose(replace(empty, gpus=("H200",))))
    assert "fbgemm-gpu-cpu" not in on_gpu.what and "-e '.[gpu]'" in on_gpu.fix


def test_optional_packages_may_be_absent():
    report = diagnose(environment(without=("transformers", "peft")))
    assert report.healthy
    assert [line.state for line in report.packages if line.name == "transformers"] == ["optional"]


@pytest.mark.parametrize(
    ("gpus", "keeps"), [((), "fbgemm-gpu-cpu==1.8.0 ./stubs/fbgemm-gpu"), (("H200",), "fbgemm-gpu==1.8.0")]
)
def test_both_fbgemm_builds_are_removed_before_the_right_one_returns(gpus, keeps):
    problem = only(diagnose(environment(gpus=gpus, fbgemm_gpu="1.9.0")))
    assert problem.code == "both-fbgemm"
    assert "uninstall -y fbgemm-gpu fbgemm-gpu-cpu && " in problem.fix and problem.fix.endswith(f"--no-deps {keeps}")


def test_cuda_build_without_a_gpu_is_swapped_and_its_failing_import_has_no_second_command():
    facts = environment(
        "gpu", broken={"fbgemm_gpu": "OSError: libnvidia-ml.so.1", "torchrec": "OSError: libnvidia-ml.so.1"}
    )
    swap, failure = diagnose(facts).problems
    assert swap.code == "cuda-fbgemm" and swap.fix.endswith("fbgemm-gpu-cpu==1.8.0 ./stubs/fbgemm-gpu")
    assert failure.what == "`import fbgemm_gpu` fails: OSError: libnvidia-ml.so.1" and failure.fix == ""


def test_missing_stand_in_is_installed_alone():
    problem = only(diagnose(environment(without=("fbgemm-gpu",))))
    assert problem.code == "no-stand-in" and problem.fix.endswith("--no-deps ./stubs/fbgemm-gpu")


def test_both_faiss_builds():
    problem = only(diagnose(environment(faiss_gpu="1.15.1", faiss_cpu="1.15.1")))
    assert problem.code == "both-faiss" and problem.fix.endswith("--no-deps faiss-cpu==1.15.1")


def test_unexplained_import_failure_is_reinstalled_and_its_followers_are_left_out():
    facts = environment(broken={"transformers": "ImportError: x", "peft": "ImportError: x"})
    problem = only(diagnose(facts))
    assert problem.code == "import" and problem.fix.endswith("--force-reinstall --no-deps transformers==1.0")


def test_version_out_of_range_is_brought_back():
    problem = only(diagnose(environment(requirements={"mlflow": ">=3.17,<3.18"}, mlflow="3.18.0")))
    assert problem.code == "range" and problem.fix.endswith("'mlflow>=3.17,<3.18'")


def test_project_not_installed_and_python_too_old():
    facts = replace(environment(), python="3.10.4", requirements={})
    assert codes(diagnose(facts).problems) == ["python", "project"]


def test_gpu_that_is_not_used_is_a_note():
    report = diagnose(environment(gpus=("H200",)))
    assert report.healthy and codes(report.notes) == ["gpu-idle"]


def test_text_is_narrow_and_plain_and_commands_stay_whole():
    report = diagnose(environment(fbgemm_gpu="1.9.0", broken={"fbgemm_gpu": "OSError: " + "_ZN5torch" * 200}))
    lines = render(report, ROWS).splitlines()
    assert all(len(line) <= WIDTH for line in lines if not line.startswith("  $ "))
    assert {f"  $ {problem.fix}" for problem in report.problems if problem.fix} <= set(lines)
    assert "\033" not in "".join(lines) and "\033" in render(report, ROWS, colour=True)


def test_status_and_json(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "gather", lambda packages: environment())
    assert doctor.run() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "healthy"
    monkeypatch.setattr(doctor, "gather", lambda packages: environment(fbgemm_gpu_cpu="1.9.0"))
    assert doctor.run(json=True) == 1
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert answer["healthy"] is False and answer["problems"][0]["code"] == "mismatch"
    assert answer["rows"][0]["torch"] == ROWS[0].torch


def test_the_doctor_itself_imports_nothing_that_may_be_missing():
    code = "import sys; before = set(sys.modules); import training.doctor; print(*(set(sys.modules) - before))"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    strangers = {name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    assert strangers <= {"training", "__future__"}
