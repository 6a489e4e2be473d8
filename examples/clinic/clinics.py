"""Who uses the application: three clinics, and the company that runs it for them."""

CLINICS = {
    "riverside": "Riverside Clinic",
    "hillside": "Hillside Practice",
    "lakeside": "Lakeside Children's Clinic",
}
# The platform's operator is a tenant too: its own staff are sealed under the platform's key.
OPERATIONS = "operations"
TENANTS = {**CLINICS, OPERATIONS: "Platform operations"}
