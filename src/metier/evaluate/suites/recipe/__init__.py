"""How the items of the shipped suites were made: tables written for this purpose, put together by fixed rules."""
