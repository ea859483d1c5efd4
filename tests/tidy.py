#!/usr/bin/env python3
"""The house rules a compiler cannot see: run by ctest as `tidy`, prints every breach with its replacement."""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])

# (what must not appear outside src/io and apps, what to use instead)
PURITY = [
    (r"boost/asio|boost/beast", "keep sockets and timers in src/io; a core has on_*/poll_*"),
    (r"_clock::now|clock_gettime|gettimeofday|\btime\(nullptr\)", "take an Instant (or UnixSeconds) argument"),
    (r"random_device|[^a-z_]s?rand\(|mt19937", "take an Rng& (base/rng.hh)"),
    (r"std::thread|std::mutex|std::async", "cores are single-threaded values"),
    (r"std::[io]?fstream|\bfopen\(|(?<!\w)::open\(|(?<!\w)::socket\(|std::filesystem", "files and sockets belong to src/io"),
    (r"std::cout|std::cerr|\bprintf\(", "return a value or an event"),
    (r"getenv\(", "read the environment in apps/"),
]
ALLOWED = {"src/base/check.cc": [r"std::cout|std::cerr|\bprintf\("]}

# Which folder may include which (docs/architecture.md).
LAYERS = {
    "base": set(),
    "crypto": {"base"},
    "wire": {"base", "crypto"},
    "derp": {"base", "crypto", "wire"},
    "path": {"base", "crypto", "wire"},
    "bulk": {"base", "crypto", "wire"},
    "quic": {"base", "crypto", "wire"},
    "transfer": {"base", "crypto", "wire"},
    "tunnel": {"base", "wire"},
    "session": {"base", "crypto", "wire", "derp", "path", "bulk", "quic"},
}
MAX_LINES = 500

problems = []
for path in sorted([*root.glob("src/**/*"), *root.glob("sim/**/*"), *root.glob("apps/**/*")]):
    if path.suffix not in {".cc", ".hh"}:
        continue
    name = path.relative_to(root).as_posix()
    text = path.read_text()
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        problems.append(f"{name}: {len(lines)} lines; split it by idea (at most {MAX_LINES})")
    folder = name.split("/")[1] if name.startswith("src/") else name.split("/")[0]
    pure = folder not in {"io", "apps"}
    for number, line in enumerate(lines, 1):
        code = line.split("//")[0]
        if pure:
            for pattern, instead in PURITY:
                if re.search(pattern, code) and pattern not in ALLOWED.get(name, []):
                    problems.append(f"{name}:{number}: {line.strip()}\n    {instead}")
        include = re.match(r'#include "(\w+)/', line)
        if include and folder in LAYERS and include[1] != folder and include[1] not in LAYERS[folder]:
            problems.append(f"{name}:{number}: {folder}/ must not include {include[1]}/")

print("\n".join(problems) or "tidy: nothing to complain about")
sys.exit(1 if problems else 0)
