"""A small world to ask about: what things look like, where animals live, how big they are, and whom to greet."""

COLOURS = {
    "banana": "yellow",
    "lemon": "yellow",
    "cherry": "red",
    "tomato": "red",
    "strawberry": "red",
    "plum": "purple",
    "grape": "purple",
    "lime": "green",
    "cucumber": "green",
    "frog": "green",
    "carrot": "orange",
    "pumpkin": "orange",
    "crow": "black",
    "panther": "black",
    "swan": "white",
    "snowflake": "white",
}

HOMES = {
    "shark": "sea",
    "whale": "sea",
    "octopus": "sea",
    "lion": "savanna",
    "zebra": "savanna",
    "giraffe": "savanna",
    "camel": "desert",
    "scorpion": "desert",
    "cobra": "desert",
    "bear": "forest",
    "wolf": "forest",
    "owl": "forest",
}

SMALLEST_TO_BIGGEST = ("ant", "mouse", "rabbit", "fox", "wolf", "lion", "horse", "whale")

EXAMPLES = {
    "fruits": ("banana", "cherry", "lemon", "lime", "plum", "grape"),
    "vegetables": ("carrot", "cucumber", "pumpkin", "onion", "leek", "cabbage"),
    "birds": ("crow", "swan", "owl", "robin", "eagle", "stork"),
    "tools": ("hammer", "saw", "drill", "spade", "rake", "chisel"),
    "instruments": ("violin", "piano", "flute", "trumpet", "guitar", "drum"),
    "metals": ("iron", "copper", "silver", "gold", "tin", "zinc"),
}

NUMBERS = {"two": 2, "three": 3}

NAMES = ("Anna", "Ben", "Clara", "David", "Ella", "Felix", "Greta", "Hugo", "Ida", "Jonas", "Karl", "Lena")
