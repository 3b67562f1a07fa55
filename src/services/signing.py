"""DKIM by the settings: one check, and one sentence, at the start, in `csai doctor` and where mail is sent."""

from config.secret_files import given_secret
from config.settings import Settings
from processors.errors import ConfigurationError
from processors.mail_interfaces import Signer
from processors.optional_packages import load


def signer_of(settings: Settings) -> Signer | None:
    """Return what signs mails by the EMAIL_DKIM_ settings; None where they are unset.

    Raises:
        ConfigurationError: the key file cannot be read or used, or what signs is not installed.
    """
    domain, selector, file = settings.email_dkim_domain, settings.email_dkim_selector, settings.email_dkim_key_file
    if domain is None or selector is None or file is None:
        return None
    try:
        pem = given_secret(file)
    except OSError as error:
        why = error.strerror or error
        raise ConfigurationError(f"EMAIL_DKIM_KEY_FILE: {file} cannot be read: {why}.") from error
    signing = load("processors.dkim_signing", "DKIM", "unset EMAIL_DKIM_DOMAIN and let the mail server sign")
    return signing.DkimSigner(domain, selector, pem)
