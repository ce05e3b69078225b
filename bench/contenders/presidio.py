"""presidio-analyzer with its pattern recognisers for English: no model, nothing fetched. Runs in its own environment.

Reads JSON lists of texts from stdin, a line each; answers with spans and the CPU seconds they took.
"""

import json
import sys
import time

import spacy
import tldextract
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import SpacyNlpEngine

tldextract.extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)  # it would fetch a list over the net


class Blank(SpacyNlpEngine):
    """Cuts text into words and does no more: the models that presidio downloads cannot be had without the Hub."""

    def __init__(self) -> None:
        super().__init__(models=[{"lang_code": "en", "model_name": "blank"}])
        self.nlp = {"en": spacy.blank("en")}

    def load(self) -> None:
        """Load nothing."""


def main() -> None:
    """Answer batches until stdin ends."""
    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(languages=["en"])
    for entry in list(registry.recognizers):
        if type(entry).__name__ in ("SpacyRecognizer", "TransformersRecognizer", "StanzaRecognizer"):
            registry.remove_recognizer(entry.name)
    engine = AnalyzerEngine(nlp_engine=Blank(), registry=registry, supported_languages=["en"])
    names = sorted(type(entry).__name__ for entry in registry.recognizers)
    engine.analyze("warm up 4111111111111111", language="en")
    print(json.dumps({"recognisers": names}), flush=True)
    for line in sys.stdin:
        texts = json.loads(line)
        start = time.process_time()
        found = [engine.analyze(text, language="en") for text in texts]
        seconds = time.process_time() - start
        spans = [[[span.start, span.end, span.entity_type] for span in spans] for spans in found]
        print(json.dumps({"seconds": seconds, "spans": spans}), flush=True)


main()
