"""Who is in the simulated organization: teams with their weight and trend, projects, and people."""

import unicodedata
from dataclasses import dataclass

SLUG = "northwind"
NAME = "Northwind Labs"
TIME_ZONE = "Europe/Berlin"
DOMAIN = "northwind.example"


@dataclass(frozen=True, slots=True)
class DemoTeam:
    """A team: its share of the spend today, its growth a month, and its projects (slug, name)."""

    slug: str
    name: str
    weight: float
    growth: float
    projects: tuple[tuple[str, str], ...]
    parent: str = ""


@dataclass(frozen=True, slots=True)
class DemoPerson:
    """A person: role, team (empty: none), and the largest grant an approver may give (USD, as text)."""

    name: str
    email: str
    role: str
    team: str = ""
    approval_limit: str | None = None


TEAMS = (
    DemoTeam("platform", "Platform", 0.28, 0.18, (("ledger-migration", "Ledger migration"), ("build-farm", "Build farm"), ("agent-runtime", "Agent runtime"))),
    DemoTeam("search", "Search", 0.20, 0.04, (("ranking", "Ranking"), ("query-rewrite", "Query rewrite"))),
    DemoTeam("payments", "Payments", 0.15, -0.11, (("payouts", "Payouts"), ("risk-rules", "Risk rules"))),
    DemoTeam("data", "Data", 0.17, 0.46, (("nightly-enrichment", "Nightly enrichment"), ("warehouse", "Warehouse"))),
    DemoTeam("mobile", "Mobile", 0.13, 0.02, (("app-rewrite", "App rewrite"), ("translations", "Translations"))),
    DemoTeam("research", "Research", 0.08, 0.12, (("fusion-review", "Fusion review"), ("sandbox", "Sandbox"))),
    DemoTeam("support", "Support", 0.09, 0.08, (("help-desk", "Help desk"),)),
    DemoTeam("security", "Security", 0.03, 0.0, (("secret-scan", "Secret scan"),), "platform"),
)

STAFF = (
    ("Ana Ruiz", "owner", "", None),
    ("Tomasz Zieliński", "admin", "", None),
    ("Priya Nair", "finance", "", None),
    ("Oluwaseun Adeyemi", "finance", "", None),
    ("Henrik Solberg", "auditor", "", None),
    ("Jonas Weber", "approver", "platform", "500"),
    ("Mira Kovač", "engineer", "platform", None),
    ("Linh Tran", "approver", "search", "500"),
    ("Carla Mendes", "approver", "payments", "500"),
    ("Samuel Okafor", "approver", "data", "250"),
    ("Yuki Tanaka", "approver", "mobile", "250"),
    ("Ingrid Halvorsen", "approver", "research", "500"),
    ("Rajesh Iyer", "approver", "support", "100"),
    ("Nadia Benali", "approver", "security", "250"),
)

ENGINEERS = {
    "platform": (
        "Lukas Brandt", "Elif Demir", "Pavel Novák", "Grace Mwangi", "Tobias Richter", "Sofia Lindqvist", "Arjun Mehta", "Chloé Laurent",
        "Dmitri Volkov", "Hannah Fischer", "Mateo Vargas", "Wei Zhang", "Aoife Byrne", "Kwame Mensah", "Julia Nowak", "Stefan Ilić",
    ),
    "search": (
        "Marta Oliveira", "Felix Hartmann", "Ananya Rao", "Björn Eriksson", "Zanele Dube", "Kenji Mori", "Laura Conti", "Omar Haddad",
        "Petra Svobodová", "Daniel Kim", "Isabel Torres", "Niklas Vogel", "Thandiwe Khumalo",
    ),
    "payments": (
        "Viktor Horváth", "Amélie Dubois", "Ravi Shankar", "Katarzyna Wójcik", "Ben Schwarz", "Fatima Zahra", "Andrei Popescu",
        "Louise Jensen", "Marco Bianchi", "Noor Hussain", "Simon Keller",
    ),
    "data": (
        "Emeka Eze", "Johanna Krause", "Sanjay Gupta", "Maria Papadopoulou", "Leon Wagner", "Hye-jin Park", "Tiago Rocha", "Freya Olsen",
        "Anton Sokolov", "Leila Farahani", "Paul Berger",
    ),
    "mobile": (
        "Clara Neumann", "Diego Fuentes", "Mei Lin", "Oskar Lund", "Aisha Khan", "Jan de Vries", "Beatriz Costa", "Mikko Virtanen", "Eva Horn",
    ),
    "research": ("Theo Marchand", "Sunita Patel", "Gabriel Santos", "Yara Nasser", "Erik Dahl", "Olga Ivanova", "Max Albrecht"),
    "support": ("Nina Hoffmann", "Juan Herrera", "Tamara Petrović", "Peter Nagy", "Abebe Tesfaye", "Rosa Jiménez"),
    "security": ("Ivan Kolev", "Greta Sommer", "Hassan Ali", "Camille Roux"),
}


def email_of(name: str) -> str:
    """first.last@northwind.example, in plain letters."""
    letters = name.replace("ø", "o").replace("ł", "l").replace("ı", "i")  # noqa: RUF001
    plain = unicodedata.normalize("NFKD", letters).encode("ascii", "ignore").decode().lower()
    return ".".join(plain.split()) + "@" + DOMAIN


def people() -> tuple[DemoPerson, ...]:
    """Everybody, leaders first."""
    staff = [DemoPerson(name, email_of(name), role, team, limit) for name, role, team, limit in STAFF]
    engineers = [DemoPerson(name, email_of(name), "engineer", team) for team, names in ENGINEERS.items() for name in names]
    return (*staff, *engineers)


OWNER = email_of("Ana Ruiz")
ADMIN = email_of("Tomasz Zieliński")
LEAD = email_of("Jonas Weber")
ENGINEER = email_of("Mira Kovač")
NEAR_LIMIT_TEAM = "data"
