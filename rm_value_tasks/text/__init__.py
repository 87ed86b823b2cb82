"""How words are written as answers, and how text from models is shown in documents."""
