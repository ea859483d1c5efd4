#pragma once

// One GET over io/dial: enough to fetch a DERP map, no more. No cookies, no compression, no keep-alive.

#include <expected>
#include <string>

#include "io/dial.hh"

namespace dh::io {

constexpr std::size_t kMaxHttpBody = 8u << 20;

struct HttpGetRequest {
  std::string url;            // http or https
  std::string if_none_match;  // an ETag as it came; empty: unconditional
  std::size_t max_body = kMaxHttpBody;
  int max_redirects = 5;
};

struct HttpResponse {
  unsigned status = 0;  // 200..599 but for a followed redirect
  std::string body;     // empty for 304
  std::string etag;     // at most 256 printable bytes; longer ones are dropped
  std::string url;      // where the answer came from, after redirects
};

/// Fetches `request.url`, following 301, 302, 303, 307 and 308; never from https to http.
/// Units:     options.timeout bounds everything together: DNS, TLS, redirects, body.
/// Errors:    a sentence with the URL and what happened. A status such as 404 is not an error here.
asio::awaitable<std::expected<HttpResponse, std::string>> http_get(HttpGetRequest request,
                                                                   DialOptions options);

}  // namespace dh::io
