"""A base model: found, loaded safely, adapted, merged, saved. `find` and `settings` import no torch; the rest does."""

import logging

logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # where it is installed, PEFT imports it, and it warns of
# kernels that are fetched from the internet
