#pragma once

#include "base/rng.hh"
#include "base/time.hh"

namespace dh::io {

/// How one try at a relay ended, as far as pacing cares.
enum class AttemptEnd : std::uint8_t {
  Unreachable,  // dial, upgrade or login failed
  Rejected,     // the relay closed where its ServerInfo belonged
  Lost,         // logged in, and the connection ended later
};

/// How long to wait before the next try: min(n^2 x 10 ms, 5 s) x U[0.5, 1.5) after n failures in a row. From
/// the third refusal in a row on, a relay that does not want us is asked less and less: 2 s doubling to 60 s.
/// A value; pure.
class ReconnectBackoff {
public:
  /// `up_for`: how long the login stood (Lost). A short one does not clear the count: a relay that accepts
  /// everybody and dies at once must not be hammered.
  Duration next(AttemptEnd end, Duration up_for, Rng& rng);
  void reset() { *this = {}; }

private:
  int failures_ = 0;    // in a row
  int rejections_ = 0;  // in a row
};

}  // namespace dh::io
