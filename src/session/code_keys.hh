#pragma once

// What follows from a code: the key its two ends meet under, and the inputs of their CPace.
// Spec: docs/protocol/code.md "Meeting key", "CPace".

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.hh"
#include "crypto/cpace.hh"
#include "crypto/keys.hh"
#include "session/code.hh"
#include "session/token.hh"
#include "wire/code_msg.hh"

namespace dh::session {

/// Where two ends meet, in words both ends know: enters the meeting key and CPace, so that what is said at
/// one place is worth nothing at another.
std::string place_of_region(std::uint32_t region);
std::string place_of_server(const RelayRef& relay);
/// A relay that the sender hosts itself, found on the local network: known by its certificate.
std::string place_on_lan(const ByteArray<32>& pin);

/// Argon2id's cost. The default takes 68 ms and 64 MiB on a laptop: a list of all meeting keys of one relay
/// and hour takes 79 core-hours.
struct StretchCost {
  unsigned long long passes = 3;
  std::size_t memory_bytes = 64u << 20;
};

/// Hours since 1970 UTC.
std::int64_t meeting_hour(UnixSeconds wall);
/// In which hours the sender may have drawn the code, likeliest first: this one, the one before, and the next
/// one where this clock may be behind.
std::vector<std::int64_t> hours_to_try(UnixSeconds wall);

/// The DERP key that a sender logs in with. Whoever knows the first two words knows it; nothing rests on it
/// but finding each other. Errors: nullopt when the memory is not there.
std::optional<KeyPair> meeting_key(const Code& code, std::string_view place, std::int64_t hour,
                                   const StretchCost& cost = {});

/// How the sender's machine is found on a local network by the first two words alone.
struct LanKeys {
  ByteArray<16> tag{};    // stands in a question: "is this yours?"
  Secret<32> answer_key;  // seals the answer: only who knows the words can make or read one
};
std::optional<LanKeys> lan_keys(const Code& code, std::int64_t hour, const StretchCost& cost = {});

/// The inputs both ends of a meeting feed CPace.
struct MeetingContext {
  std::string secret_text;  // of the code
  std::string place;
  PublicKey meeting_key;
  PublicKey receiver_key;
};
/// Associated data of the receiver's and of the sender's point.
Bytes receiver_data(const MeetingContext& context, std::uint32_t capabilities);
Bytes sender_data(const MeetingContext& context, std::uint32_t capabilities);
Cpace make_code_cpace(Cpace::Side side, const MeetingContext& context, const wire::CodeNonce& receiver_nonce,
                      const wire::CodeNonce& sender_nonce, std::uint32_t own_capabilities, Rng& rng);

/// The token, sealed for the other end of a finished CPace: ciphertext and tag.
Bytes seal_gift(const CpaceKeys& keys, std::string_view token_text);
std::optional<std::string> open_gift(const CpaceKeys& keys, ByteView sealed);

}  // namespace dh::session
