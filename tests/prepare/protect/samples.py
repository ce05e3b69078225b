"""Made-up values of every kind: whole, well-formed, and of nobody."""

import base64
from collections.abc import Mapping

from metier.prepare.protect.spans import Entity

KEY = base64.urlsafe_b64encode(b"a key for tests, 32 bytes long !").decode()

SECRETS: Mapping[str, str] = {
    "Amazon": "AKIA" + "QWERTYUIOPASDFGH",
    "GitHub": "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
    "GitLab": "glpat-" + "a1B2c3D4e5F6g7H8i9J0",
    "Slack": "xoxb-" + "123456789012-abcdefGHIJKL",
    "Stripe": "sk_live_" + "a1B2c3D4e5F6g7H8",
    "OpenAI": "sk-proj-" + "a1B2c3D4e5F6g7H8i9J0k1L2",
    "Google": "AIza" + "SyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q",
    "Hugging Face": "hf_" + "aBcDeFgHiJkLmNoPqRsTuVwXyZ012345",
    "web token": "eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "npm": "npm_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
    "private key": "-----BEGIN " + "RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
}
VALUES: Mapping[Entity, tuple[tuple[str, str], ...]] = {
    "email": (("write to {}.", "maria.lopez+news@mail.corp.com"), ("{}", "j_o'neil@sub.domain.co.uk")),
    "card": (("my card {} is lost", "4111 1111 1111 1111"), ("{}", "378282246310005"), ("card {}", "630427373398")),
    "iban": (("pay to {} please", "DE89 3704 0044 0532 0130 00"), ("{}", "gb82WEST12345698765432")),
    "national_id": (
        ("ssn {}", "460-89-9847"), ("her CPF is {}", "390.533.447-05"), ("DNI {}", "54362315K"),
        ("my National Insurance number is {}", "AB 12 34 56 C"), ("PESEL {}", "44051401359"),
        ("codice fiscale {}", "RCCMNL83S18D969H"), ("passport number: {}", "X1234567"),
        ("driver's license number is {}", "F162823540116"),
    ),
    "ip": (("from {} again", "203.12.7.9"), ("host {}", "2a02:2f0b:c000::12")),
    "phone": (
        ("call {}", "+49 170 1234567"), ("{}", "(212) 555-7890"), ("my number is {}", "0490 75 40 81"),
        ("Fax: {}", "345-899-3560x4587"),
    ),
    "url": (("see {}.", "https://www.my-own-shop.de/about?x=1"),),
    "date": (("born {}", "1978-04-13 12:20:39"), ("on {}", "2/8/1935"), ("on {}", "13 April 1978")),
    "address": (
        ("I live at {}", "12 Baker Street, London NW1 6XE"), ("Send it to {} please", "742 Evergreen Terrace Apt. 5"),
        ("{}", "Hauptstra\u00dfe 12"), ("{}", "P.O. Box 1234"), ("Meet me at {}", "Puruntie 82"),
        ("{}", "Rua do Arenque 1634"),
    ),
    "person": (
        ("My name is {}.", "Maria Lopez"), ("Dear Mr. {},", "Xqrz"), ("I spoke to {} today", "Johannes Becker"),
        ("{} called", "Anna-Maria Schmidt"), ("my name is {}", "patricia miller"),
    ),
}  # fmt: skip
"""Sentences with a place for a value, and the value."""

INNOCENT = (
    "The train at 12:45 takes 3 hours and costs $1,250.00, or 99.95 in 2024-2025.",
    "Version 1.2.3.4567 of chapter 5, section 12, page 340; pi is 3.14159265358979.",
    "Order number 1234567890 and invoice 9876543210 were sent on Monday.",
    "Will you mark the rose in May? Please Hope for the best, Dear Sir or Madam.",
    "The password is required. Your token has expired; the secret of success is patience.",
    "The Amazon river, the Harvard University Press and Baker Street Ltd are in the atlas.",
    "In Windows 10 and Python 3, see Figure 7 and Table 12 of Book 4.",
    "Hello there, I am Happy to help. Thanks, Support Team",
    "Reach us at support@example.com or https://docs.example.org/ from 127.0.0.1.",
)
"""Texts without personal data, each with something that looks a little like it."""
