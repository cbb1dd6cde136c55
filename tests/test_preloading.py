import os
import subprocess
import sys
import textwrap

LOOK = """
    import os, sys
    from vitau.preloading import start_preloading
    from vitau.processes import parallel_map

    def look(_):
        return "colorsys" in sys.modules, os.environ.get("VITAU_LATER"), "PYTHONSAFEPATH" in os.environ

    if __name__ == "__main__":
        start_preloading(["no_such_module", "colorsys"])
        os.environ["VITAU_LATER"] = "set after the start"
        before = "colorsys" in sys.modules
        print(before, *parallel_map(look, range(2), 2))
"""


def test_forked_workers_have_the_modules_and_the_variables_of_the_process_that_uses_them(tmp_path):
    script = tmp_path / "look.py"
    script.write_text(textwrap.dedent(LOOK))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VITAU_", "PYTHONSAFE"))}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, env=kept)
    seen = (True, "set after the start", False)
    assert (done.stdout.strip(), done.stderr) == (f"False {seen} {seen}", "")
