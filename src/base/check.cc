#include "base/check.hh"

#include <cstdio>
#include <cstdlib>

namespace dh {

void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "derphole: internal error: %s (%s:%d)\n", condition, file, line);
  std::abort();
}

}  // namespace dh
