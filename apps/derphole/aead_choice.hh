#pragma once

namespace dh::app {

/// Applies DERPHOLE_AEAD (openssl or ipsec-mb) to the whole process; unset or empty leaves the choice to the
/// machine. Errors: CommandError(Usage) for an unknown name or a backend that does not work here.
void choose_aead_backend();

}  // namespace dh::app
