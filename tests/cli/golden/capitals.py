"""The agent of the golden sessions as it was changed since they were recorded: it asks for the city in capitals."""

from agentstream import agent, step


@step
def get_capital(country: str) -> str:
    return {"France": "Paris", "PotatoLand": "Potato City"}.get(country, "unknown")


@step
def get_population(city: str) -> int:
    return len(city) * 1000


@agent
def population(country: str) -> str:
    city = get_capital(country)
    return f"{city}: {get_population(city.upper())}"
