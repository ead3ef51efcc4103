"""`gleclip doctor`."""

from dataclasses import asdict

import typer

from gleclip_cli.cli import options
from gleclip_cli.cli.reporting import reporting
from gleclip_cli.errors import EnvironmentFault


def doctor(
    context: typer.Context,
    quiet: options.QuietOption = False,
    json_: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Tell what works on this machine, and what to do about the rest.

    Looks at versions, libraries, devices, memory, disk and weights; needs no network and no
    working torch. Ends with 0 if there is no fault, else with 6; a note is no fault.
    """
    with reporting(context) as report:
        from gleclip_cli.tools.doctor import examine

        report.say("Trying the libraries ...")
        findings = examine()
        report.document["findings"] = [asdict(finding) for finding in findings]
        rows = [[finding.name, finding.state, finding.found] for finding in findings]
        report.table("What is here", ["what", "state", "found"], rows)
        for finding in findings:
            if finding.remedy:
                report.tell(f"{finding.state.capitalize()}, {finding.name}: {finding.remedy}")
        faults = [finding.name for finding in findings if finding.state == "fault"]
        if faults:
            raise EnvironmentFault(
                f"Not everything works: {', '.join(faults)}.", "Do what is told beside each."
            )
        report.tell("Everything that gleclip needs works.")
