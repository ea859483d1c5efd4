// HTTP request and response heads: found at the same place however the bytes arrive, never beyond their
// limits.

#include "base/check.hh"
#include "wire/http_head.hh"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dh;
  const ByteView stream(reinterpret_cast<const std::byte*>(data), size);
  const auto head_size = http_head_size(stream);
  if (!head_size) return 0;
  CHECK(*head_size <= size);
  CHECK(!http_head_size(stream.first(*head_size - 1)));
  for (std::size_t searched = 0; searched < *head_size && searched < 64; ++searched)
    CHECK(http_head_size(stream, searched) == head_size);

  const HttpLimits limits{.head_bytes = 1024, .headers = 8};
  const ByteView head = stream.first(*head_size);
  if (const auto request = parse_http_request(head, limits)) {
    CHECK(head.size() <= limits.head_bytes && request->headers.all().size() <= limits.headers);
    CHECK(!request->method.empty() && !request->target.empty());
    // What was understood, written again, is understood the same way.
    std::string again = request->method + " " + request->target + " HTTP/1." +
                        static_cast<char>('0' + request->minor_version) + "\r\n";
    for (const HttpHeader& header : request->headers.all())
      again += header.name + ": " + header.value + "\r\n";
    again += "\r\n";
    const auto twice = parse_http_request(as_bytes(again), {.head_bytes = again.size(), .headers = 8});
    CHECK(twice && *twice == *request);
    (void)request->headers.has_token("Upgrade", "derp");
    (void)request->keep_alive();
  }
  if (const auto response = parse_http_response(head, limits))
    CHECK(response->status >= 100 && response->status <= 599);
  return 0;
}
