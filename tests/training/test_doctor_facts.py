"""Facts come out of metadata and of other processes, whatever becomes of those."""

import pytest

from training.doctor_facts import installed_versions, is_stand_in, project_requirements, try_imports, within


@pytest.mark.parametrize(
    ("version", "specifier", "inside"),
    [
        ("2.13.0+cpu", "==2.13.0", True),
        ("2.9", ">=2.11,<2.14", False),
        ("2.14.0.dev1", ">=2.11,<2.14", False),
        ("3", ">=3.0,<4", True),
        ("1.2.3", "", True),
    ],
)
def test_ranges_compare_numbers_and_not_text(version, specifier, inside):
    assert within(version, specifier) is inside


@pytest.fixture
def fake_site(tmp_path, monkeypatch):
    """A folder of installed distributions that comes before the real ones."""

    def install(name, version, *requires, files=()):
        info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        head = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {line}" for line in requires)]
        (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *head]) + "\n", encoding="utf-8")
        record = [f"{info.name}/METADATA", f"{info.name}/RECORD", *files]
        for path in files:  # metadata leaves out recorded files that are not there
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
        (info / "RECORD").write_text("".join(f"{path},,\n" for path in record), encoding="utf-8")

    monkeypatch.syspath_prepend(str(tmp_path))
    return install


def test_metadata_tells_the_stand_in_from_the_build(fake_site):
    fake_site("fake-stub", "1.8.0+cpu")
    fake_site("fake-build", "1.8.0", files=("fbgemm_gpu/__init__.py",))
    assert is_stand_in("fake-stub") and not is_stand_in("fake-build") and not is_stand_in("fake-absent")
    assert installed_versions(["fake_stub", "fake-absent"]) == {"fake-stub": "1.8.0+cpu"}


def test_requirements_are_read_from_metadata(fake_site):
    fake_site(
        "fake-project", "0.1", "torch<2.14,>=2.11", 'PyYAML (>=6) ; extra == "x"', "jsonargparse[signatures]<5,>=4.40"
    )
    expected = {"torch": ">=2.11,<2.14", "pyyaml": ">=6", "jsonargparse": ">=4.40,<5"}
    assert project_requirements("fake-project") == expected
    assert project_requirements("fake-absent") == {}


def test_an_import_that_never_ends_is_ended(tmp_path, monkeypatch):
    (tmp_path / "fake_hang.py").write_text("import time; time.sleep(60)", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert try_imports(["fake_hang"], timeout=0.5)["fake_hang"].error.startswith("no answer within 0.5 s")


def test_crashing_and_noisy_imports_each_get_their_verdict(tmp_path, monkeypatch):
    modules = {
        "fake_good": "print('noise', end='')",
        "fake_crash": "import os, sys; print('last words', file=sys.stderr, flush=True); os.abort()",
        "fake_exit": "raise SystemExit(3)",
        "fake_chain": "try:\n    int('x')\nexcept ValueError as e:\n    raise OSError('could not load') from e",
        "fake_last": "",
    }
    for name, text in modules.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    checks = try_imports(modules)
    errors = {name: check.error for name, check in checks.items()}
    assert errors["fake_good"] == errors["fake_last"] == ""
    assert "SIGABRT" in errors["fake_crash"] and errors["fake_crash"].endswith("last words")
    assert errors["fake_exit"] == "SystemExit: 3"
    assert errors["fake_chain"].startswith("ValueError: invalid literal")
