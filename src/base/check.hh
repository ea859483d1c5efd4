#pragma once

// Two asserts, two culprits: CHECK is for our own bugs and stays on in every build. What a peer or the
// network can cause is never CHECKed; it is a value and a counter (docs/architecture.md, "Errors").

namespace dh {

/// Prints the failed condition with its place and aborts. Never returns.
[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace dh

#define CHECK(condition) \
  (static_cast<bool>(condition) ? static_cast<void>(0) : ::dh::check_failed(#condition, __FILE__, __LINE__))

#ifdef NDEBUG
#define DCHECK(condition) static_cast<void>(0)
#else
#define DCHECK(condition) CHECK(condition)
#endif
