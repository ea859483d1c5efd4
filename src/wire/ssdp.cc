#include "wire/ssdp.hh"

#include "wire/http_head.hh"

namespace dh::wire::ssdp {

std::string make_search(std::string_view target) {
  return "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nST: " + std::string(target) +
         "\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n\r\n";
}

bool Answer::is_gateway() const {
  return search_target.contains("InternetGatewayDevice") || search_target.contains("WANIPConnection") ||
         search_target.contains("WANPPPConnection") || search_target.contains("WANConnectionDevice");
}

std::expected<Answer, WireError> parse_answer(ByteView datagram) {
  if (datagram.size() > kMaxAnswer) return std::unexpected(WireError::TooLong);
  const auto size = http_head_size(datagram);
  if (!size) return std::unexpected(WireError::BadMagic);
  const auto head = parse_http_response(datagram.first(*size));
  if (!head || head->status != 200) return std::unexpected(WireError::BadMagic);
  const auto location = head->headers.find("location");
  if (!location || location->empty()) return std::unexpected(WireError::BadValue);
  Answer answer;
  answer.location = *location;
  answer.search_target = head->headers.find("st").value_or("");
  return answer;
}

}  // namespace dh::wire::ssdp
