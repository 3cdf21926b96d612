"""The package: what is in it, that its types are sound, and that its documentation is true."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent
ROOT = FOLDER.parent.parent
READMES = [FOLDER / "README.md", ROOT / "README.md", ROOT / "README.zh-CN.md"]


def run(*arguments: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "default", **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Package(unittest.TestCase):
    def setUp(self) -> None:
        self.place = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_the_wheel_has_the_package_its_types_and_its_licences(self) -> None:
        source = self.place / "python"
        shutil.copytree(FOLDER, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build", ".mypy_cache"))
        run("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", self.place, source)
        [wheel] = self.place.glob("*.whl")
        names = zipfile.ZipFile(wheel).namelist()
        modules = {f"sockeye/{path.name}" for path in (FOLDER / "src/sockeye").iterdir() if path.is_file()}
        self.assertEqual({name for name in names if name.startswith("sockeye/")}, modules)
        self.assertIn("sockeye/py.typed", modules)
        self.assertTrue(any(name.endswith("licenses/LICENSE-MIT") for name in names), names)
        run("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", self.place / "there", wheel)
        code = "import sockeye; print(sockeye.__file__, sockeye.Client.__name__)"
        self.assertIn("there/sockeye/__init__.py Client", run("-c", code, PYTHONPATH=str(self.place / "there")))

    def test_it_is_of_the_version_of_the_project(self) -> None:
        version = re.search(r'^version = "(.*)"$', (FOLDER / "pyproject.toml").read_text(), re.M)
        of_the_project = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.M)
        assert version and of_the_project
        self.assertEqual(version[1], of_the_project[1])
        for licence in ("LICENSE-APACHE", "LICENSE-MIT"):
            self.assertEqual((FOLDER / licence).read_text(), (ROOT / licence).read_text())

    def test_its_types_are_sound_and_what_the_readmes_show_has_types(self) -> None:
        snippets = []
        for readme in READMES:
            for number, code in enumerate(re.findall(r"^```python\n(.*?)^```$", readme.read_text(), re.M | re.S)):
                name = re.sub(r"\W", "_", str(readme.relative_to(ROOT)))
                snippets.append(self.place / f"{name}_{number}.py")
                snippets[-1].write_text(code)
        self.assertGreaterEqual(len(snippets), 6)
        options = ("--strict", "--cache-dir", self.place / "cache")
        run("-m", "mypy", *options, FOLDER / "src", FOLDER / "tests", *snippets, MYPYPATH=str(FOLDER / "src"))


if __name__ == "__main__":
    unittest.main()
