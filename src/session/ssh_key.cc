#include "session/ssh_key.hh"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>

#include <sodium.h>

#include "crypto/hash.hh"

namespace dh::session {
namespace {

constexpr std::size_t kMaxApplication = 256;  // "ssh:" and a name, of keys on a token

std::string to_base64(ByteView bytes, int variant) {
  std::string text(sodium_base64_encoded_len(bytes.size(), variant), '\0');
  sodium_bin2base64(text.data(), text.size(), as_uchar(bytes), bytes.size(), variant);
  text.resize(text.find('\0'));
  return text;
}

std::optional<Bytes> from_base64(std::string_view text) {
  if (text.empty()) return std::nullopt;
  Bytes bytes(text.size());
  std::size_t size = 0;
  const char* end = nullptr;
  if (sodium_base642bin(as_uchar(ByteSpan(bytes)), bytes.size(), text.data(), text.size(), nullptr, &size,
                        &end, sodium_base64_VARIANT_ORIGINAL) != 0 ||
      end != text.data() + text.size())
    return std::nullopt;
  bytes.resize(size);
  return bytes;
}

ByteView read_string(Reader& in) {
  return in.bytes(in.u32());
}

// Bits of a positive mpint (RFC 4251 §5); 0 for one that is negative, zero or not in its shortest form.
std::size_t mpint_bits(ByteView number) {
  if (number.empty()) return 0;
  const bool zero_first = number[0] == std::byte{0};
  if (zero_first) number = number.subspan(1);
  if (number.empty()) return 0;
  const bool high_bit = (number[0] & std::byte{0x80}) != std::byte{0};
  if (high_bit != zero_first) return 0;
  const unsigned top = static_cast<unsigned>(number[0]);
  return (number.size() - 1) * 8 + static_cast<std::size_t>(std::bit_width(top));
}

bool is_application(ByteView text) {
  return text.size() <= kMaxApplication && std::all_of(text.begin(), text.end(), [](std::byte b) {
           return b > std::byte{' '} && b < std::byte{0x7f};
         });
}

bool is_ed25519(Reader& in) {
  return read_string(in).size() == 32;
}

bool is_ecdsa(Reader& in, std::string_view curve, std::size_t field_bytes) {
  if (as_text(read_string(in)) != curve) return false;
  const ByteView point = read_string(in);
  return point.size() == 1 + 2 * field_bytes && point[0] == std::byte{4};  // uncompressed
}

std::optional<SshKeyError> check_rsa(Reader& in) {
  const ByteView exponent = read_string(in), modulus = read_string(in);
  const std::size_t bits = mpint_bits(modulus);
  if (mpint_bits(exponent) < 2 || mpint_bits(exponent) > 64 ||
      (exponent.back() & std::byte{1}) == std::byte{0})
    return SshKeyError::WrongInside;
  if (bits == 0 || bits > kMaxRsaBits || (modulus.back() & std::byte{1}) == std::byte{0})
    return SshKeyError::WrongInside;
  if (bits < kMinRsaBits) return SshKeyError::TooWeak;
  return std::nullopt;
}

struct KeyType {
  std::string_view name;
  std::optional<SshKeyError> (*check)(Reader&);
};

std::optional<SshKeyError> wrong_unless(bool good) {
  return good ? std::nullopt : std::optional(SshKeyError::WrongInside);
}

constexpr std::array kTypes = {
    KeyType{"ssh-ed25519", [](Reader& in) { return wrong_unless(is_ed25519(in)); }},
    KeyType{"sk-ssh-ed25519@openssh.com",
            [](Reader& in) { return wrong_unless(is_ed25519(in) && is_application(read_string(in))); }},
    KeyType{"ssh-rsa", check_rsa},
    KeyType{"ecdsa-sha2-nistp256", [](Reader& in) { return wrong_unless(is_ecdsa(in, "nistp256", 32)); }},
    KeyType{"ecdsa-sha2-nistp384", [](Reader& in) { return wrong_unless(is_ecdsa(in, "nistp384", 48)); }},
    KeyType{"ecdsa-sha2-nistp521", [](Reader& in) { return wrong_unless(is_ecdsa(in, "nistp521", 66)); }},
    KeyType{"sk-ecdsa-sha2-nistp256@openssh.com",
            [](Reader& in) {
              return wrong_unless(is_ecdsa(in, "nistp256", 32) && is_application(read_string(in)));
            }},
};

std::optional<SshKeyError> check_blob(const KeyType& type, ByteView blob) {
  Reader in(blob);
  if (as_text(read_string(in)) != type.name) return SshKeyError::WrongInside;
  if (const auto error = type.check(in)) return error;
  return wrong_unless(in.ok() && in.remaining() == 0);
}

bool is_comment_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '@' || c == '.' ||
         c == '_' || c == '-';
}

std::string_view take_field(std::string_view& rest) {
  const std::size_t end = std::min(rest.find(' '), rest.size());
  const std::string_view field = rest.substr(0, end);
  rest.remove_prefix(end);
  while (rest.starts_with(' ')) rest.remove_prefix(1);
  return field;
}

}  // namespace

std::string_view to_string(SshKeyError error) {
  switch (error) {
    case SshKeyError::Empty:
      return "there is no key in it";
    case SshKeyError::TooLong:
      return "it is too long for a public key";
    case SshKeyError::SeveralLines:
      return "it is not one line of plain text";
    case SshKeyError::UnknownType:
      return "it is not a public key of a type that is accepted (ed25519, ecdsa, rsa, or one on a security "
             "token), with nothing in front";
    case SshKeyError::NotBase64:
      return "the key in it is not whole";
    case SshKeyError::WrongInside:
      return "what is inside is not a key of the type it says";
    case SshKeyError::TooWeak:
      return "RSA keys below 3072 bits are not accepted";
    case SshKeyError::BadComment:
      return "the comment behind the key may have letters, digits and @ . _ - only, 64 at most";
  }
  return "it is no public key";
}

std::expected<SshKey, SshKeyError> parse_ssh_key(std::string_view text) {
  if (text.size() > kMaxSshKeyText) return std::unexpected(SshKeyError::TooLong);
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (text.ends_with('\r')) text.remove_suffix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  while (text.starts_with(' ')) text.remove_prefix(1);
  if (text.empty()) return std::unexpected(SshKeyError::Empty);
  if (std::any_of(text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }))
    return std::unexpected(SshKeyError::SeveralLines);
  SshKey key;
  key.type = take_field(text);
  const auto type = std::find_if(kTypes.begin(), kTypes.end(),
                                 [&](const KeyType& candidate) { return candidate.name == key.type; });
  if (type == kTypes.end()) return std::unexpected(SshKeyError::UnknownType);
  auto blob = from_base64(take_field(text));
  if (!blob || blob->empty()) return std::unexpected(SshKeyError::NotBase64);
  key.blob = std::move(*blob);
  if (const auto error = check_blob(*type, key.blob)) return std::unexpected(*error);
  key.comment = text;
  if (key.comment.size() > kMaxSshComment ||
      !std::all_of(key.comment.begin(), key.comment.end(), is_comment_char))
    return std::unexpected(SshKeyError::BadComment);
  return key;
}

std::string format_ssh_key(const SshKey& key) {
  std::string line = key.type + " " + to_base64(key.blob, sodium_base64_VARIANT_ORIGINAL);
  if (!key.comment.empty()) line += " " + key.comment;
  return line;
}

std::string ssh_fingerprint(const SshKey& key) {
  return "SHA256:" + to_base64(sha256(key.blob), sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
}

}  // namespace dh::session
