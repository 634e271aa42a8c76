"""Results of a trial beside what they should be: a line each, and their count."""

differences = 0


def compare(name: str, result: object, expected: object) -> None:
    global differences
    if result == expected:
        print(f"ok       {name}", flush=True)
    else:
        differences += 1
        print(f"DIFFERS  {name}: {result!r:.500} instead of {expected!r:.500}", flush=True)


def exit_code() -> int:
    """Prints the count of differences; 1 if there are any."""
    print(f"{differences} differences")
    return 1 if differences else 0
